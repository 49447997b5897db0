"""Pictures that the sink `capture` kept, with what was predicted about them then.

Knows keys and their JSON; decoding is `pictures`' matter.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from sightline.core.codec import decode_sample, from_json
from sightline.core.errors import InvalidInput, InvalidMedia, NotFound, SightlineError
from sightline.core.plugins import Source, SourceState
from sightline.core.ports import checked_key
from sightline.core.prediction import JsonObject
from sightline.core.sample import Clocks, Frame, Sample
from sightline.packs.vision.sources.pictures import decode_frame

log = structlog.get_logger()
_JSON, _JPEG = ".json", ".jpg"
_MAX_JSON_BYTES = 64 << 20
_MAX_PICTURE_BYTES = 64 << 20


@dataclass(kw_only=True)
class Captures(Source):
    """The captures below a prefix of the artifact store, in the order of their keys, each with its predictions.

    Time and predictions are those of the capture. The metadata has `capture`: the key of the picture, and source,
    sample, case, run and reasons of then. What is no capture is passed over; one whose picture is missing or damaged is
    dropped, with the reason `no_picture` or `undecodable`.

    Attributes:
        prefix: what their keys begin with, for instance `captures/street_people/2026/11`; empty: all that is stored.
    """

    prefix: str = "captures"

    def __post_init__(self) -> None:
        if self.prefix:
            checked_key(self.prefix.rstrip("/"))

    def read(self) -> Iterator[Sample[Frame]]:
        """Yield the captures, uint8 [H, W, 3], blue first.

        Raises:
            NotFound: there is none.
        """
        context, seq = self.context, 0
        context.state(SourceState.CONNECTING, "")
        for key in context.ports.artifacts.list(self.prefix):
            if context.stopping.is_set():
                return
            if not key.endswith(_JSON) or (wire := self._described(key)) is None:
                continue
            try:
                sample = self._sample(key, wire, seq)
            except (NotFound, InvalidMedia) as error:
                context.dropped("undecodable" if isinstance(error, InvalidMedia) else "no_picture", 1)
                log.warning("capture is left out", key=key, reason=error.message)
                continue
            if not seq:
                context.state(SourceState.LIVE, "")
            yield sample
            seq += 1
        if not seq:
            raise NotFound(
                f"There are no captures at {repr(self.prefix) if self.prefix else 'the top of the store'}.",
                cure="Keep some with the sink capture, or with: sightline capture SOURCE --out DIR",
            )

    def _described(self, key: str) -> JsonObject | None:
        """Return the JSON of a capture; None where it is something else."""
        try:
            wire = from_json(self._bytes(key, _MAX_JSON_BYTES))
        except SightlineError:
            return None
        is_capture = isinstance(wire, dict) and isinstance(wire.get("capture"), dict) and "predictions" in wire
        return wire if is_capture else None

    def _sample(self, key: str, wire: JsonObject, seq: int) -> Sample[Frame]:
        facts = wire["capture"]
        picture = f"{key.removesuffix(_JSON)}{_JPEG}"  # beside it, also where both were copied to another folder
        try:
            then = decode_sample(wire)
        except InvalidInput as error:
            raise InvalidMedia(error.message) from None
        frame = decode_frame(self._bytes(picture, _MAX_PICTURE_BYTES), name=picture)
        size = wire.get("size")
        if isinstance(size, list) and tuple(size) != frame.size and len(size) == 2:
            frame = Frame(frame.pixels_HWC, full_size=(int(size[0]), int(size[1])))
        about = {
            "picture": picture,
            "source": then.source,
            "sample": then.id,
            "case": wire.get("case"),
            "run": facts.get("run"),
            "reasons": facts.get("reasons"),
        }
        return Sample(
            payload=frame,
            source=self.context.source,
            epoch=self.context.epoch,
            seq=seq,
            clocks=Clocks(pts_s=None, monotonic_s=time.monotonic(), wall=then.time),
            metadata={**then.metadata, "capture": about},
            predictions=then.predictions,
        )

    def _bytes(self, key: str, most: int) -> bytes:
        with self.context.ports.artifacts.open(key) as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise InvalidMedia(f"{key} is longer than {most >> 20} MiB.")
        return data
