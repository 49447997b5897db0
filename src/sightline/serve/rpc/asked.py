"""A call that came in over gRPC, or one message of a stream: what is known of it until it is answered."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event as Flag
from uuid import uuid4

from sightline.core.access import Caller
from sightline.core.errors import SightlineError
from sightline.engine.call import Call
from sightline.serve.problems import status_of

_PLAIN = re.compile(r"[A-Za-z0-9._:-]{1,128}")  # as over HTTP


@dataclass(slots=True, kw_only=True, eq=False)
class Asked:
    """A request by gRPC.

    Attributes:
        method: full name of the procedure, `/inference.GRPCInferenceService/ModelInfer`.
        shown: the metadata of the call that is text.
        call: deadline and the flag of a caller who left; models that ran and times spent are noted in it.
        id: the caller's own `x-request-id` where it is a plain word; of a message in a stream with its number behind.
        caller: who asks.
        data: the message; empty again when it was answered.
        kept: `hit` or `miss` where answers are kept.
        error: what the caller was told; None: it was answered.
    """

    method: str
    shown: Mapping[str, str]
    call: Call
    id: str = ""
    caller: Caller = field(default_factory=Caller)
    data: bytes = b""
    kept: str = ""
    error: SightlineError | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    begin_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if not self.id:
            wanted = self.shown.get("x-request-id", "")
            self.id = wanted if _PLAIN.fullmatch(wanted) else uuid4().hex

    @property
    def status(self) -> int:
        """The HTTP status that means the same."""
        return 200 if self.error is None else status_of(self.error)

    def take(self, data: bytes) -> None:
        """Note the message that came."""
        self.data = data
        self.bytes_in = len(data)

    def message(self, number: int, data: bytes, seconds: float) -> Asked:
        """Return one message of this stream; it is answered within `seconds`, and while the stream lives."""
        ends = [time.monotonic() + seconds, *([] if self.call.deadline_s is None else [self.call.deadline_s])]
        one = Asked(
            method=self.method,
            shown=self.shown,
            call=Call(deadline_s=min(ends), cancelled=self.call.cancelled),
            id=f"{self.id}:{number}",
            caller=self.caller,
        )
        one.take(data)
        return one

    def begin(self, seconds: float | None) -> Call:
        """Return the circumstances of the work: it ends with the call, or `seconds` from now if that is sooner."""
        ends = [self.call.deadline_s, None if seconds is None else time.monotonic() + seconds]
        return Call(deadline_s=min((end for end in ends if end is not None), default=None), cancelled=self.cancelled)

    def end(self, call: Call) -> None:
        """Take over what was noted in `call`."""
        for version in call.versions:
            self.call.note(version)
        for span, seconds in call.spans.items():
            self.call.spent(span, seconds)

    @property
    def cancelled(self) -> Flag | None:
        """The flag of a caller who left."""
        return self.call.cancelled
