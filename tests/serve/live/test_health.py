"""`GET /health/stream`: every camera of every running case, and a look at one address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
from structlog.testing import capture_logs
from tests.serve.conftest import STREET
from tests.serve.live.conftest import SIZE, Corner, Served, serving, until

from sightline.build.running import held_run
from sightline.core.access import Scope
from sightline.core.case import Case
from sightline.packs.vision.sources.synthetic import SyntheticSource
from sightline.packs.vision.sources.video import VideoSource
from sightline.serve.auth.keys import new_key


def asked(served: Served, **params: str) -> tuple[int, Any]:
    answer = httpx2.get(f"{served.url}/health/stream", params=params, timeout=30)
    return answer.status_code, answer.json()


def asked_until(served: Served, **states: str) -> tuple[int, Any]:
    """Ask until the sources are in these states: one that is away is tried again now and then."""
    answers: list[tuple[int, Any]] = []

    def are() -> bool:
        answers.append(asked(served))
        return {row["source"]: row["state"] for row in answers[-1][1]["streams"]} == states

    until(are)
    return answers[-1]


def camera() -> SyntheticSource:
    return SyntheticSource(size=SIZE, fps=50, realtime=True)


class TestTheCameras:
    def test_without_a_run_it_is_idle_and_well(self, served: Served) -> None:
        assert asked(served) == (200, {"status": "idle", "streams": []})

    def test_a_live_camera_is_told_with_its_age_and_its_true_rate(self, served: Served) -> None:
        run = served.run("yard", door=camera())
        until(lambda: (asked(served)[1]["streams"][0]["fps"] or 0) > 5)
        status, told = asked(served)
        [row] = told["streams"]
        assert (status, told["status"]) == (200, "ok")
        assert (row["case"], row["run"], row["source"], row["state"]) == ("yard", run.id, "door", "live")
        assert (row["required"], row["epoch"]) == (True, 1)
        assert 0 <= row["age_s"] < 20
        assert 0 < row["fps"] < 70
        assert set(row["dropped"]) <= {"superseded"}

    def test_one_camera_that_is_not_live_is_503(self, served: Served) -> None:
        served.run("yard", door=camera(), gate=VideoSource(url="rtsp://user:secret@127.0.0.1:9/cam"))
        status, told = asked_until(served, door="live", gate="backoff")
        assert (status, told["status"]) == (503, "down")
        assert "secret" not in str(told)

    def test_a_camera_that_may_be_away_only_degrades(self, served: Served) -> None:
        case = Case(
            name="yard",
            sources={"door": camera(), "gate": VideoSource(url="rtsp://127.0.0.1:9/cam")},
            stages={"analytics": {"people": Corner()}},
        )
        metadata = {"optional_sources": "gate, roof"}
        served.platform.streams.start(lambda: held_run(case, served.context, metadata=metadata))
        status, told = asked_until(served, door="live", gate="backoff")
        assert (status, told["status"]) == (200, "degraded")
        assert {row["source"]: row["required"] for row in told["streams"]} == {"door": True, "gate": False}

    def test_head_has_the_status_alone(self, served: Served) -> None:
        answer = httpx2.head(f"{served.url}/health/stream", timeout=30)
        assert (answer.status_code, answer.content) == (200, b"")


class TestAProbe:
    def test_a_source_that_answers_is_described(self, served: Served) -> None:
        status, told = asked(served, source=str(STREET))
        assert (status, told["status"]) == (200, "ok")
        assert told["advice"] is not None
        assert "h264" in str(told).lower()

    def test_one_that_does_not_is_503_with_the_reason_and_without_its_password(self, served: Served) -> None:
        answer = httpx2.get(
            f"{served.url}/health/stream", params={"source": "rtsp://me:hidden@127.0.0.1:9/x"}, timeout=25
        )
        assert (answer.status_code, answer.json()["code"]) == (503, "source_unreachable")
        assert answer.json()["detail"]
        assert "hidden" not in answer.text

    def test_what_is_no_video_is_told(self, served: Served, tmp_path: Path) -> None:
        (tmp_path / "x.mp4").write_bytes(b"no video at all" * 100)
        status, told = asked(served, source=str(tmp_path / "x.mp4"))
        assert (status, told["code"]) == (400, "invalid_media")

    def test_no_address_is_refused(self, served: Served) -> None:
        for url in ("", " ", "rtsp://x/\n", "x" * 5000):
            assert asked(served, source=url)[0] == 400

    def test_pages_of_others_may_not_ask_for_it(self, served: Served) -> None:
        answer = httpx2.get(
            f"{served.url}/health/stream",
            params={"source": "rtsp://127.0.0.1:9/x"},
            headers={"Sec-Fetch-Site": "cross-site"},
            timeout=30,
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")

    def test_it_needs_the_scope_manage(self, tmp_path: Path) -> None:
        with serving(tmp_path, {"SIGHTLINE_AUTH__MODE": "on"}) as served:
            key, kept = new_key("reader", frozenset({Scope.READ}))
            served.context.store.keys.add(kept)
            headers = {"Authorization": f"Bearer {key}"}
            assert httpx2.get(f"{served.url}/health/stream", headers=headers, timeout=30).status_code == 200
            answer = httpx2.get(f"{served.url}/health/stream?source=rtsp://127.0.0.1:9/x", headers=headers, timeout=30)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
            assert httpx2.get(f"{served.url}/health/stream", timeout=30).status_code == 401

    def test_it_leaves_an_audit_line_and_a_look_at_the_states_does_not(self, served: Served) -> None:
        with capture_logs() as lines:
            asked(served)
            asked(served, source="rtsp://127.0.0.1:9/x")
            until(lambda: any(line["event"] == "audit" for line in lines))
        [line] = [line for line in lines if line["event"] == "audit"]
        assert (line["method"], line["path"], line["status"]) == ("GET", "/health/stream", 503)
