"""The backend hears of each job of `/infer` at least once, signed, whatever happens to it, to us and to the token."""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.packs.basic.receiver import until
from tests.serve.medical.backend import Stub, backend
from tests.serve.medical.tiny import TOKEN, asked, write_letters
from tests.serve.processes import server_process
from tests.servers import RunningServer, serving

from sightline.core.errors import ConfigError
from sightline.core.events import make_event
from sightline.serve.completion import Backend
from sightline.settings import load_settings

ASYNC = {"prefer": "respond-async"}


def settings(stub: Stub, **more: Any) -> dict[str, Any]:
    given = {"medical__case": "letters", "backend__url": stub.url, "auth__service_token": TOKEN}
    return {**given, "jobs__retry_s": 0.02, "jobs__workers": 2, **more}


def put(running: RunningServer, **texts: str) -> None:
    for name, text in texts.items():
        running.platform.context.artifacts.put(f"uploads/{name}.txt", text.encode())


def waiting(running: RunningServer) -> int:
    return running.platform.context.store.deliveries.num_waiting("backend")


def test_a_backend_that_fails_half_of_the_calls_hears_of_each_job_signed_with_the_token(tmp_path: Path) -> None:
    write_letters(tmp_path)
    with (
        backend(TOKEN) as stub,
        serving(tmp_path, **settings(stub)) as running,
    ):
        stub.receiver.answer = stub.fail_first
        put(running, scan="abcd", broken="broken")
        jobs = [f"{number:02d}-{word}" for number in range(8) for word in ("scan", "broken")]
        for job in jobs:
            wish = {"job_uuid": job, "input_object": f"uploads/{job[3:]}.txt"}
            assert asked(running.url, wish, **ASYNC)[0] in (200, 202, 422)
        until(lambda: len(stub.receiver.taken) >= len(jobs), 30)
        until(lambda: waiting(running) == 0)
        taken = stub.checked()
        assert stub.jobs == set(jobs)
        ids = {headers["webhook-id"] for headers, _ in stub.receiver.messages}
        assert len(ids) == len(jobs)
        assert len(stub.receiver.messages) == 2 * len(jobs)
    good = [each for each in taken if each["status"] == "completed"]
    assert sorted(each["output_object"] for each in good) == [
        f"results/analysis_{number:02d}-scan.nii.gz" for number in range(8)
    ]
    assert good[0]["file_name"] == good[0]["output_object"].removeprefix("results/")
    assert good[0]["file_size"] == len("mask fast_debug 0.5 : 4")
    assert good[0]["json_object"].endswith(".json")
    assert good[0]["xlsx_object"].endswith(".xlsx")
    assert [each for each in taken if each["status"] != "completed"] == 8 * [
        {"status": "failed", "error_kind": "validation", "error": "That is no scan."}
    ]


def test_a_backend_that_is_down_hears_of_it_when_it_is_back(tmp_path: Path) -> None:
    write_letters(tmp_path)
    with backend(TOKEN) as gone:
        port = gone.receiver.port
    with serving(tmp_path, **settings(gone)) as running:
        put(running, scan="abcd")
        status, answer, _ = asked(running.url, {"job_uuid": "down", "input_object": "uploads/scan.txt"})
        assert (status, answer["status"]) == (200, "completed")
        store = running.platform.context.store.deliveries
        until(lambda: any(each.attempts for each in store.list("backend", waiting=True)))
        with backend(TOKEN, port=port) as back:
            until(lambda: back.receiver.taken, 20)
            assert back.jobs == {"down"}
            back.checked()


@pytest.mark.parametrize("after", ["the message was tried", "the job ended"])
def test_a_server_that_is_killed_before_the_message_arrives_sends_it_when_it_is_started_again(
    tmp_path: Path, after: str
) -> None:
    write_letters(tmp_path)
    (tmp_path / "data/artifacts/uploads").mkdir(parents=True)
    (tmp_path / "data/artifacts/uploads/scan.txt").write_text("abcd")
    with backend(TOKEN, answer=lambda _: 503) as down:
        env = {
            "BACKEND_URL": down.url,
            "ML_SERVICE_TOKEN": TOKEN,
            "SIGHTLINE_MEDICAL__CASE": "letters",
            "SIGHTLINE_BACKEND__TIMEOUT_S": "1",
        }
        if after == "the job ended":
            down.receiver.behave = lambda _: _ended(down)  # the first try gets no answer
        with server_process(tmp_path, env=env) as server:
            status, _, _ = asked(server.url, {"job_uuid": "killed", "input_object": "uploads/scan.txt"})
            assert status == 200
            if after == "the message was tried":
                until(lambda: down.receiver.messages)
            server.signal(signal.SIGKILL)
            server.wait()
        port = down.receiver.port
    with backend(TOKEN, port=port) as up, server_process(tmp_path, env=env):
        until(lambda: up.receiver.taken, 45)
        assert up.jobs == {"killed"}
        [told] = up.checked()
        assert told["output_object"] == "results/analysis_killed.nii.gz"


def test_the_token_is_exchanged_without_a_restart_for_both_directions(tmp_path: Path) -> None:
    write_letters(tmp_path)
    (tmp_path / "data/artifacts/uploads").mkdir(parents=True)
    (tmp_path / "data/artifacts/uploads/scan.txt").write_text("abcd")
    file, new = tmp_path / "token", "another-token-of-the-tests"
    file.write_text(f"{TOKEN}\n")
    with backend(TOKEN) as stub:
        env = {
            "BACKEND_URL": stub.url,
            "ML_SERVICE_TOKEN_FILE": str(file),
            "SIGHTLINE_MEDICAL__CASE": "letters",
            "SIGHTLINE_AUTH": "on",
        }
        with server_process(tmp_path, env=env) as server:
            wish = {"job_uuid": "one", "input_object": "uploads/scan.txt"}
            assert asked(server.url, wish)[0] == 401
            assert asked(server.url, wish, token=new)[0] == 401
            assert asked(server.url, wish, token=TOKEN)[0] == 200
            until(lambda: len(stub.receiver.taken) == 1)
            file.write_text(new)
            wish = {**wish, "job_uuid": "two"}
            until(lambda: asked(server.url, wish, token=new)[0] == 200)
            assert asked(server.url, wish, token=TOKEN)[0] == 401
            until(lambda: len(stub.receiver.taken) == 2)
    stub.tokens.append(new)
    stub.checked()
    assert [headers["authorization"] for headers, _ in stub.receiver.messages] == [f"Bearer {TOKEN}", f"Bearer {new}"]


def test_a_signed_token_of_another_service_is_taken_and_what_it_may_is_looked_at(tmp_path: Path) -> None:
    from joserfc import jwt
    from joserfc.jwk import OctKey

    secret = "a-secret-of-thirty-two-bytes-and-more"
    write_letters(tmp_path)

    def token(scope: str, *, lasts_s: float = 60) -> str:
        claims = {"sub": "backend", "scope": scope, "exp": int(time.time() + lasts_s)}
        return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(secret))

    with serving(tmp_path, medical__case="letters", auth__mode="on", auth__jwt_secret=secret) as running:
        put(running, scan="abcd")
        wish = {"job_uuid": "jwt", "input_object": "uploads/scan.txt"}
        assert asked(running.url, wish, token=token("read"))[0] == 403
        assert asked(running.url, wish, token=token("infer", lasts_s=-60))[0] == 401
        assert asked(running.url, wish, token=token("infer"))[0] == 200


def test_410_ends_a_message_and_a_redirect_is_not_followed(tmp_path: Path) -> None:
    write_letters(tmp_path)
    with (
        backend(TOKEN, answer=lambda number: (307, 410)[min(number, 1)]) as stub,
        serving(tmp_path, **settings(stub)) as running,
    ):
        stub.receiver.headers["location"] = "http://127.0.0.1:1/elsewhere"
        put(running, scan="abcd")
        asked(running.url, {"job_uuid": "gone", "input_object": "uploads/scan.txt"})
        store = running.platform.context.store.deliveries
        until(lambda: store.list("backend", waiting=False))
        assert store.list("backend")[0].outcome == "gone"
    assert len(stub.receiver.messages) == 2


def test_runs_that_nobody_asked_for_by_infer_are_not_told(tmp_path: Path) -> None:
    with backend(TOKEN) as stub:
        environ = {"BACKEND_URL": stub.url, "ML_SERVICE_TOKEN": TOKEN, "SIGHTLINE_DATA_ROOT": str(tmp_path)}
        told = Backend(load_settings(folder=tmp_path, environ=environ))
        for metadata in ({}, {"job_uuid": ""}, None):
            event = make_event(
                "run.completed", source="/cases/x", time=now(), subject="run/1", data={"metadata": metadata}
            )
            assert told.message(event) is None


def test_an_own_secret_signs_in_the_place_of_the_token_and_is_exchanged_without_a_restart(tmp_path: Path) -> None:
    from standardwebhooks import Webhook
    from standardwebhooks.webhooks import WebhookVerificationError

    old, new, newest = ("whsec_" + letter * 32 for letter in "ABC")
    file = tmp_path / "secret"
    file.write_text(f"{old}, {new}\n")
    with backend(TOKEN) as stub:
        environ = {"BACKEND_URL": stub.url, "SIGHTLINE_DATA_ROOT": str(tmp_path)}
        environ["SIGHTLINE_BACKEND__SECRET_FILE"] = str(file)
        told = Backend(load_settings(folder=tmp_path, environ=environ))
        data = {"metadata": {"job_uuid": "a~b"}, "error_kind": "timeout", "error": "Late."}
        message = told.message(make_event("run.failed", source="/cases/x", time=now(), data=data))
        assert message is not None

        def signed(*secrets: str) -> None:
            assert told.send(message).status == 204
            headers, body = stub.receiver.messages[-1]
            assert "authorization" not in headers
            for secret in secrets:
                said = Webhook(secret).verify(body, headers)
                assert said == {"status": "failed", "error_kind": "timeout", "error": "Late."}
            for secret in {old, new, newest} - {*secrets}:
                with pytest.raises(WebhookVerificationError):
                    Webhook(secret).verify(body, headers)

        signed(old, new)
        file.write_text(f"{new},{newest}")
        signed(new, newest)
        for wrong in ("no secret", " , "):
            file.write_text(wrong)
            with pytest.raises(ConfigError, match=r"[Ss]ecret"):
                told.send(message)
            signed(new, newest)  # what cannot sign does not silence us
        file.write_text(newest)
        signed(newest)
        assert {*stub.receiver.paths} == {"/internal/jobs/a~b/completion"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BACKEND_URL", "ftp://backend"),
        ("SIGHTLINE_BACKEND__SECRET", "no secret"),
        ("SIGHTLINE_BACKEND__SECRET", ","),
        ("BACKEND_URL", "http://"),
    ],
)
def test_a_wrong_address_or_secret_ends_the_start(tmp_path: Path, name: str, value: str) -> None:
    environ = {"BACKEND_URL": "http://backend:8080", "SIGHTLINE_DATA_ROOT": str(tmp_path), name: value}
    with pytest.raises(ConfigError, match="backend"):
        Backend(load_settings(folder=tmp_path, environ=environ))


def now() -> datetime:
    return datetime.now(UTC)


def _ended(stub: Stub) -> None:
    stub.receiver.over.wait(20)
