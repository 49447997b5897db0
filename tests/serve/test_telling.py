"""Receivers in the settings hear of the events of all cases, signed, and of nothing after they have said 410."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook
from tests.packs.basic.receiver import receiving, until
from tests.serve.medical.tiny import asked, write_letters
from tests.servers import serving

from sightline.core.errors import ConfigError
from sightline.core.events import make_event
from sightline.serve.telling import Hook
from sightline.settings import LoadedSettings, load_settings

SECRET = "whsec_" + "A" * 32


def settings(folder: Path, **given: str) -> LoadedSettings:
    environ = {f"SIGHTLINE_{name.upper()}": value for name, value in given.items()}
    return load_settings(folder=folder, environ={"SIGHTLINE_DATA_ROOT": str(folder), **environ})


def test_a_receiver_hears_of_runs_of_every_case(tmp_path: Path) -> None:
    write_letters(tmp_path)
    hooks: dict[str, Any] = {"webhooks__allow": "127.0.0.1", "webhooks__secret": SECRET}
    with (
        receiving() as receiver,
        serving(tmp_path, medical__case="letters", webhooks__receivers=receiver.url, **hooks) as running,
    ):
        running.platform.context.artifacts.put("uploads/scan.txt", b"abcd")
        _, answer, _ = asked(running.url, {"job_uuid": "one", "input_object": "uploads/scan.txt"})
        until(lambda: len(receiver.taken) == 3)
        assert set(receiver.types) == {"run.submitted", "run.started", "run.completed"}
        for headers, body in receiver.messages:
            told = Webhook(SECRET).verify(body, headers)
            assert headers["webhook-id"] == told["id"]
            assert headers["content-type"] == "application/cloudevents+json"
            assert told["subject"] == f"run/{answer['run']}"
            assert json.loads(body)["specversion"] == "1.0"


def test_a_receiver_that_has_said_410_is_not_asked_again(tmp_path: Path) -> None:
    write_letters(tmp_path)
    with (
        receiving(answer=lambda _: 410) as receiver,
        serving(
            tmp_path, medical__case="letters", webhooks__receivers=receiver.url, webhooks__allow="127.0.0.1"
        ) as running,
    ):
        running.platform.context.artifacts.put("uploads/scan.txt", b"abcd")
        store = running.platform.context.store.deliveries
        name = Hook(receiver.url, running.platform.context.loaded).name
        for job in ("one", "two", "three"):
            asked(running.url, {"job_uuid": job, "input_object": "uploads/scan.txt"})
        until(lambda: len(store.list(name, waiting=False)) == 9)
        assert {each.outcome for each in store.list(name)} == {"gone"}
        assert len(receiver.messages) <= 4  # those that were under way when the first answer came


@pytest.mark.parametrize(
    "given",
    [
        {"webhooks__receivers": "http://127.0.0.1:9/"},
        {"webhooks__receivers": "http://[::ffff:169.254.169.254]/latest"},
        {"webhooks__receivers": "file:///etc/passwd"},
        {"webhooks__receivers": "https://hooks.example.org", "webhooks__secret": "short"},
        {"webhooks__receivers": "https://hooks.example.org", "webhooks__secret": ","},
    ],
)
def test_an_address_that_may_not_be_sent_to_ends_the_start(tmp_path: Path, given: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        Hook(given["webhooks__receivers"], settings(tmp_path, **given))


def test_secrets_in_a_file_are_exchanged_without_a_restart(tmp_path: Path) -> None:
    old, new, newest = ("whsec_" + letter * 32 for letter in "ABC")
    file = tmp_path / "secret"
    file.write_text(f"{old}\n")
    with receiving() as receiver:
        hook = Hook(receiver.url, settings(tmp_path, webhooks__secret_file=str(file), webhooks__allow="127.0.0.1"))
        message = hook.message(make_event("run.failed", source="/cases/x", time=datetime.now(UTC), data={}))
        assert message is not None

        def signed(*secrets: str) -> None:
            assert hook.send(message).status == 204
            headers, body = receiver.messages[-1]
            assert len(headers["webhook-signature"].split()) == len(secrets)
            for secret in secrets:
                Webhook(secret).verify(body, headers)

        signed(old)
        file.write_text(f"{new}, {old}")
        signed(new, old)
        for wrong in ("no secret", " , "):
            file.write_text(wrong)
            with pytest.raises(ConfigError, match=r"[Ss]ecret"):
                hook.send(message)
            signed(new, old)  # what cannot sign does not silence us
        file.write_text(newest)
        signed(newest)
