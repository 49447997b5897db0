"""How often is asked, when, and what an answer that is none means."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest

from sightline.client.steps import Answer, Pause, Request, Send, Terms
from sightline.client.tries import refusal, tries
from sightline.core.errors import (
    ConfigError,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    InvalidMedia,
    ModelNotFound,
    NotFound,
    Overloaded,
    RateLimited,
    SightlineError,
    Unavailable,
    error_types,
)

GET = Request(method="GET", path="/")
POST = Request(method="POST", path="/")
GOOD = Answer(200, {})


class Talk:
    """Plays the part of the network: gives answers or errors in turn, and lets time pass while is waited."""

    def __init__(self, *answers: Answer | Exception, takes_s: float = 0.0) -> None:
        self.answers = list(answers)
        self.sent: list[Send] = []
        self.pauses: list[float] = []
        self._takes_s = takes_s
        self._now_s = 100.0

    def of(self, request: Request, *, timeout_s: float = 10.0, retries: int = 4) -> Answer:
        terms = Terms(name="there", timeout_s=timeout_s, retries=retries, now=lambda: self._now_s, chance=lambda: 0.5)
        steps = tries(request, terms)
        wish: Any = next(steps)
        while True:
            try:
                if isinstance(wish, Pause):
                    self.pauses.append(wish.seconds)
                    self._now_s += wish.seconds
                    wish = steps.send(None)
                    continue
                self.sent.append(wish)
                self._now_s += self._takes_s
                answer = self.answers.pop(0)
                wish = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
            except StopIteration as end:
                found: Answer = end.value
                return found


def problem(status: int, code: str, retry_after: str = "", **members: Any) -> Answer:
    headers = {"content-type": "application/problem+json"} | ({"retry-after": retry_after} if retry_after else {})
    document = {"code": code, "detail": "It is so.", "cure": "Do this.", "request_id": "r1", **members}
    return Answer(status, headers, json.dumps(document).encode())


def test_a_good_answer_is_taken() -> None:
    talk = Talk(GOOD)
    assert talk.of(GET) is GOOD
    assert not talk.pauses


def test_the_deadline_travels_and_shrinks() -> None:
    talk = Talk(problem(503, "overloaded", "2"), GOOD, takes_s=1.0)
    talk.of(POST, timeout_s=10)
    assert [send.headers["X-Request-Timeout-Ms"] for send in talk.sent] == ["10000", "6500"]  # 1 s spent, 2.5 s waited


def test_all_tries_have_one_request_id() -> None:
    talk = Talk(problem(503, "overloaded"), GOOD)
    talk.of(GET)
    assert len({send.headers["X-Request-Id"] for send in talk.sent}) == 1


def test_the_server_says_how_long_to_wait() -> None:
    talk = Talk(problem(429, "rate_limited", "3"), GOOD)
    talk.of(POST)
    assert talk.pauses == [3.75]  # with jitter on top, never sooner


def test_without_a_word_pauses_grow() -> None:
    talk = Talk(*[httpx2.ConnectError("refused")] * 3, GOOD)
    talk.of(POST)
    assert talk.pauses == [0.125, 0.25, 0.5]


def test_tries_come_to_an_end() -> None:
    talk = Talk(*[problem(503, "overloaded")] * 9)
    with pytest.raises(Overloaded, match="It is so"):
        talk.of(POST, retries=2)
    assert len(talk.sent) == 3


def test_a_pause_beyond_the_deadline_is_not_begun() -> None:
    talk = Talk(problem(429, "rate_limited", "60"))
    with pytest.raises(RateLimited) as raised:
        talk.of(GET, timeout_s=10)
    assert raised.value.retry_after_s == 60
    assert not talk.pauses


@pytest.mark.parametrize("request_", [POST, Request(method="POST", path="/", repeatable=False)])
@pytest.mark.parametrize("answer", [problem(503, "unavailable"), httpx2.ReadError("gone"), Answer(503, {}, b"busy")])
def test_what_may_have_been_done_is_not_asked_twice(request_: Request, answer: Answer | Exception) -> None:
    talk = Talk(answer)
    with pytest.raises(Unavailable):
        talk.of(request_)
    assert len(talk.sent) == 1


@pytest.mark.parametrize("request_", [GET, Request(method="POST", path="/", repeatable=True)])
@pytest.mark.parametrize(
    "answer", [problem(503, "unavailable"), httpx2.ReadError("gone"), httpx2.RemoteProtocolError("cut")]
)
def test_what_does_no_harm_twice_is(request_: Request, answer: Answer | Exception) -> None:
    assert Talk(answer, GOOD).of(request_) is GOOD


@pytest.mark.parametrize("error", [httpx2.ReadTimeout("late"), httpx2.WriteTimeout("late")])
def test_time_that_is_up_is_told(error: Exception) -> None:
    with pytest.raises(DeadlineExceeded, match=r"there did not answer within 10 s") as raised:
        Talk(error).of(GET)
    assert raised.value.request_id


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan")])
def test_a_deadline_that_is_none_is_refused(timeout_s: float) -> None:
    with pytest.raises(InvalidInput, match="timeout_s"):
        Talk().of(Request(method="GET", path="/", timeout_s=timeout_s))


@pytest.mark.parametrize("kind", [kind for kind in error_types() if kind.__module__ == "sightline.core.errors"])
def test_an_error_comes_back_as_what_it_was(kind: type[SightlineError]) -> None:
    error = refusal(problem(418, kind.code), "there")
    assert type(error) is kind
    assert (str(error), error.cure, error.request_id) == ("It is so.", "Do this.", "r1")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidInput),
        (403, Forbidden),
        (405, NotFound),
        (412, Conflict),
        (418, InvalidInput),
        (500, SightlineError),
    ],
)
def test_an_unknown_code_is_told_by_the_status(status: int, kind: type[SightlineError]) -> None:
    assert type(refusal(problem(status, "of_a_newer_version"), "there")) is kind


def test_what_is_wrong_where_is_noted() -> None:
    error = refusal(problem(400, "invalid_input", errors=[{"loc": ["body", "top_k"], "message": "too small"}]), "there")
    assert error.__notes__ == ["body.top_k: too small"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(502, {"content-type": "text/html"}, b"<h1>Bad\n Gateway</h1>"), "status 502. It says: <h1>Bad Gateway"),
        (Answer(302, {"location": "/login"}), "redirects to /login"),
        (Answer(500, {"content-type": "application/json"}, b"[1"), "status 500"),
        (Answer(404, {"content-type": "application/json"}, b'{"errors": 3, "code": []}'), "status 404"),
    ],
)
def test_what_stands_between_is_shown(answer: Answer, words: str) -> None:
    error = refusal(answer, "there")
    assert words in str(error)
    assert "\n" not in str(error)


def test_a_redirect_is_a_wrong_address() -> None:
    with pytest.raises(ConfigError):
        Talk(Answer(308, {"location": "https://there/"})).of(GET)


@pytest.mark.parametrize(
    ("retry_after", "pauses"),
    [("Wed, 21 Oct 2015 07:28:00 GMT", [0.125]), ("soon", [0.125]), ("-5", [0.125]), ("1", [1.25])],
)
def test_any_word_about_the_pause_is_borne(retry_after: str, pauses: Sequence[float]) -> None:
    talk = Talk(problem(503, "overloaded", retry_after), GOOD)
    talk.of(GET)
    assert talk.pauses == pauses


def test_a_known_code_wins_over_the_status() -> None:
    assert isinstance(refusal(problem(404, "model_not_found"), "there"), ModelNotFound)
    assert isinstance(refusal(problem(400, "invalid_media"), "there"), InvalidMedia)
