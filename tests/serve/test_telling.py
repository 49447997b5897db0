"""Receivers in the settings hear of the events of all cases, signed, and of nothing after they have said 410."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook
from tests.packs.basic.receiver import receiving, until
from tests.serve.medical.tiny import asked, write_letters
from tests.servers import serving

from sightline.core.errors import ConfigError
from sightline.serve.completion import parts_of
from sightline.serve.telling import Hook
from sightline.settings import load_settings

SECRET = "whsec_" + "A" * 32


def settings(folder: Path, **given: Any) -> Any:
    overrides = {name.replace("__", "."): value for name, value in given.items()}
    return load_settings(folder=folder, environ={"SIGHTLINE_DATA_ROOT": str(folder)}, overrides=overrides).settings


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
        name = Hook(receiver.url, running.platform.context.settings).name
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
    ],
)
def test_an_address_that_may_not_be_sent_to_ends_the_start(tmp_path: Path, given: dict[str, str]) -> None:
    found = settings(tmp_path, **given)
    with pytest.raises(ConfigError):
        Hook(parts_of(found.webhooks.receivers)[0], found)
