"""How often each model was asked by the protocol, over HTTP or gRPC, and what took how long: Triton's statistics."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sightline.core.model import split_ref
from sightline.engine.call import Call

SPANS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
"""What is told of each model: how often, and how many nanoseconds together."""

_MOST = 1024  # versions that are counted; the one that was asked first goes first


@dataclass(slots=True)
class _Model:
    last_ms: int = 0
    num_rows: int = 0
    spans: dict[str, list[int]] = field(default_factory=lambda: {name: [0, 0] for name in SPANS})


class Statistics:
    """Numbers by `name@version`, of one event loop."""

    def __init__(self) -> None:
        self._models: dict[str, _Model] = {}

    def note(self, call: Call, seconds: float, *, rows: int | None) -> None:
        """Add a request to the numbers of the models that ran in it; `rows` is None of one that failed."""
        for version in call.versions:
            if version not in self._models and len(self._models) >= _MOST:
                del self._models[next(iter(self._models))]
            model = self._models.setdefault(version, _Model())
            spent = {"fail" if rows is None else "success": seconds}
            if rows is not None:
                model.last_ms = time.time_ns() // 1_000_000
                model.num_rows += rows
                found = call.spans
                spent |= {"queue": found.get("queue", 0.0), "compute_input": found.get("decode", 0.0)}
                spent |= {"compute_infer": found.get("inference", 0.0)}
            for name, span_s in spent.items():
                span = model.spans[name]
                span[0] += 1
                span[1] += round(span_s * 1e9)

    def rows(self, name: str = "", version: str = "") -> Iterator[dict[str, Any]]:
        """Yield the numbers of one model, one version, or all, with the names that the protocol gives them."""
        for ref, model in list(self._models.items()):
            called, at = split_ref(ref)
            if name in ("", called) and version in ("", at):
                yield {
                    "name": called,
                    "version": at or "",
                    "last_inference": model.last_ms,
                    "inference_count": model.num_rows,
                    "execution_count": model.spans["success"][0],
                    "inference_stats": {each: {"count": num, "ns": ns} for each, (num, ns) in model.spans.items()},
                }
