"""Streams: each message is let in by itself, memory is bounded, and the end of the server is theirs too."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.serve.oip.nets import echo_net
from tests.serve.rpc.conftest import Talk, infer_request, serving

from sightline.core.access import Scope
from sightline.serve.auth.keys import id_of, new_key
from sightline.serve.bodies import Bodies
from sightline.serve.platform import Platform

INFER = "/inference.GRPCInferenceService/ModelInfer"
LARGE = 20_000
"""Rows of a request of 240 kB."""


@contextmanager
def talking(folder: Path, **environ: Any) -> Iterator[tuple[Platform, grpc.Channel]]:
    net = echo_net(folder / "echo-FP32.onnx", "FP32")
    with (
        serving(folder, net, **environ) as (platform, port),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield platform, channel


def made_key(platform: Platform, expires: datetime | None = None) -> str:
    key, kept = new_key("mine", [Scope.INFER], expires=expires)
    platform.context.store.keys.add(kept)
    platform.gate.refresh()
    return key


def test_messages_beyond_the_rate_are_refused_one_by_one(tmp_path: Path) -> None:
    with talking(tmp_path, SIGHTLINE_AUTH__MODE="on", SIGHTLINE_AUTH__RATE_PER_MINUTE="3") as (platform, channel):
        talk = Talk(channel, x_api_key=made_key(platform))
        talk.say(*(infer_request(request_id=str(number)) for number in range(6)))
        answers = [talk.hear() for _ in range(6)]
        talk.end()
        assert talk.last() is grpc.StatusCode.OK
    assert [each.infer_response.id for each in answers] == [str(number) for number in range(6)]
    assert [bool(each.error_message) for each in answers] == [False] * 3 + [True] * 3
    assert "3" in answers[-1].error_message


def test_a_key_that_is_revoked_ends_its_stream(tmp_path: Path) -> None:
    with talking(tmp_path, SIGHTLINE_AUTH__MODE="on") as (platform, channel):
        key = made_key(platform)
        talk = Talk(channel, x_api_key=key)
        talk.say(infer_request(request_id="a"))
        assert talk.hear().infer_response.id == "a"
        platform.context.store.keys.revoke(id_of(key))
        platform.gate.refresh()
        talk.say(infer_request(request_id="b"))
        assert talk.last() is grpc.StatusCode.UNAUTHENTICATED
        assert "was revoked" in talk.call.details()


def test_a_key_that_expires_ends_its_stream_even_before_the_first_message(tmp_path: Path) -> None:
    with talking(tmp_path, SIGHTLINE_AUTH__MODE="on") as (platform, channel):
        talk = Talk(channel, x_api_key=made_key(platform, expires=datetime.now(UTC) + timedelta(seconds=1)))
        time.sleep(1.1)
        talk.say(infer_request())
        assert talk.last() is grpc.StatusCode.UNAUTHENTICATED
        assert "has expired" in talk.call.details()


def test_a_stream_without_a_key_is_refused(tmp_path: Path) -> None:
    with talking(tmp_path, SIGHTLINE_AUTH__MODE="on") as (_, channel):
        assert Talk(channel).last() is grpc.StatusCode.UNAUTHENTICATED


def test_what_does_not_fit_into_memory_is_refused_and_let_go(tmp_path: Path) -> None:
    bodies = Bodies(1 << 20)
    with talking(tmp_path, bodies=bodies, SIGHTLINE_SERVER__MAX_BODY_MB="1") as (_, channel):
        infer = channel.unary_unary(INFER)
        for held in (bodies.most, bodies.most - 1000):  # before it is read, and when its size is known
            bodies.take(held)
            with pytest.raises(grpc.RpcError) as found:
                infer(infer_request(rows=LARGE), timeout=20)
            assert found.value.code() is grpc.StatusCode.UNAVAILABLE
            assert ("sightline-code", "overloaded") in found.value.trailing_metadata()
            bodies.give_back(held)
        for _ in range(8):  # twice of what may be held at once
            infer(infer_request(rows=LARGE), timeout=20)
        assert bodies.held == 0


def test_a_stream_reads_on_when_there_is_room_again(tmp_path: Path) -> None:
    bodies = Bodies(1 << 20)
    with talking(tmp_path, bodies=bodies, SIGHTLINE_SERVER__MAX_BODY_MB="1") as (_, channel):
        bodies.take(1000)
        talk = Talk(channel)
        talk.say(*(infer_request(request_id=str(number), rows=LARGE) for number in range(12)))
        time.sleep(0.3)
        assert bodies.held == 1000  # the largest message would not fit, so none is read
        bodies.give_back(1000)
        answers = [talk.hear() for _ in range(12)]
        talk.end()
        assert talk.last() is grpc.StatusCode.OK
        assert [(each.infer_response.id, each.error_message) for each in answers] == [
            (str(number), "") for number in range(12)
        ]
        assert bodies.held == 0


def test_a_caller_who_leaves_takes_his_messages_along(tmp_path: Path) -> None:
    bodies = Bodies(1 << 30)
    with talking(tmp_path, bodies=bodies) as (platform, channel):
        talk = Talk(channel)
        talk.say(*[infer_request(rows=LARGE)] * 40)
        talk.hear()
        talk.call.cancel()
        talk.end()
        end_s = time.monotonic() + 30
        while bodies.held or platform.num_running:
            assert time.monotonic() < end_s, (bodies.held, platform.num_running)
            time.sleep(0.01)


def test_an_idle_stream_ends_with_the_server_and_one_that_was_ended_ends_well(tmp_path: Path) -> None:
    with talking(tmp_path, SIGHTLINE_SERVER__DRAIN_S="50") as (platform, channel):
        idle, done = Talk(channel), Talk(channel)
        for talk in (idle, done):
            talk.say(infer_request())
            talk.hear()
        done.end()
        assert done.last() is grpc.StatusCode.OK
        begin_s = time.monotonic()
        platform.stopping = True
        assert idle.last() is grpc.StatusCode.UNAVAILABLE
        assert time.monotonic() - begin_s < 20
