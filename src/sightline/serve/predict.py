"""`POST /predict`: a picture in, predictions out; by a case, or by a model as if it were one.

A request runs whole in one thread, from the bytes that came to the bytes that go; the loop only carries them.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass

from sightline.core.codec import encode_sample, to_json
from sightline.core.errors import WrongMediaType
from sightline.engine.call import current_call
from sightline.engine.requests import Requests
from sightline.serve.answers import Answers
from sightline.serve.asking import Asked, read_asked
from sightline.serve.exchange import JSON, Exchange
from sightline.serve.platform import Platform
from sightline.serve.timing import server_timing

JPEG = b"image/jpeg"


@dataclass(frozen=True, slots=True)
class _Answer:
    body: bytes
    kept: str  # "hit" or "miss" where answers are kept, else empty


class Predict:
    """Answers `POST /predict`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._answers = Answers()
        self._kept = platform.cases.answers

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request.

        Raises:
            InvalidInput: the body or a parameter is wrong.
            WrongMediaType: the body is no picture by its type, or compressed once more.
            SampleRejected: the stage `validation` refused it.
            CaseNotFound: no such case is served.
            ModelNotFound: there is no such model.
            Overloaded: too much waits.
            DeadlineExceeded: it would take too long.
        """
        exchange.route = "/predict"
        if exchange.text_header(b"content-encoding") not in ("", "identity"):
            raise WrongMediaType("A body with a Content-Encoding is not taken.", cure="Send the picture as it is.")
        content_type, query = exchange.text_header(b"content-type"), exchange.query
        drawn = wants_jpeg(exchange.text_header(b"accept"))
        body = await exchange.body()
        exchange.watch()

        def work() -> _Answer:
            asked = read_asked(body, content_type, query)
            requests = self._asked(asked)
            exchange.case = requests.case.name
            return self._answered(asked, requests, drawn=drawn)

        answer = await self._answers.of(self._platform.threads.submit(exchange.call, work), exchange.call)
        headers = [(b"server-timing", server_timing(exchange.call.spans)), (b"vary", b"accept")]
        if answer.kept:
            headers.append((b"x-cache", answer.kept.encode()))
        await exchange.answer(200, answer.body, JPEG if drawn else JSON, headers)

    def _asked(self, asked: Asked) -> Requests:
        cases = self._platform.cases
        return cases.get(asked.case) if asked.model is None else cases.for_model(asked.model, asked.version)

    def _answered(self, asked: Asked, requests: Requests, *, drawn: bool) -> _Answer:
        signature = requests.signature() if self._kept else None
        if signature is None:
            return _Answer(_encoded(asked, requests, drawn=drawn), "")
        call = current_call()
        form = f"{asked.media_type} {sorted(asked.given.items())} {drawn}"
        key = self._kept.key("predict", asked.data, signature, form)
        found = self._kept.get(key)
        if found is not None:
            body, versions = found
            for version in versions:
                call.note(version)
            return _Answer(body, "hit")
        body = _encoded(asked, requests, drawn=drawn)
        # A model may have been swapped meanwhile; the key must not say of an answer what is not so.
        if requests.signature() == signature and all(f"\n{version} " in signature for version in call.versions):
            self._kept.put(key, (body, tuple(call.versions)), len(body))
        return _Answer(body, "miss")


def wants_jpeg(accept: str) -> bool:
    """Return whether the header `Accept` prefers a picture to JSON."""
    best, wanted = 0.0, False
    for entry in accept.split(","):
        media_type, *parameters = [part.strip().lower() for part in entry.split(";")]
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        if quality > best and media_type in ("image/jpeg", "image/*", "application/json", "application/*", "*/*"):
            best, wanted = quality, media_type in ("image/jpeg", "image/*")
    return wanted


def _encoded(asked: Asked, requests: Requests, *, drawn: bool) -> bytes:
    """Return the answer to a request as it travels."""
    sample = requests.load(io.BytesIO(asked.data), media_type=asked.media_type, whole=drawn)
    sample = requests.analyse(sample, asked.given)
    begin = time.perf_counter()
    try:
        if drawn:
            return requests.drawn(sample, asked.media_type)
        return to_json(encode_sample(sample, requests.case.name))
    finally:
        current_call().spent("encode", time.perf_counter() - begin)
