"""Data sets from the command line: pictures of a source into a folder, and captures into another form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event as Flag
from typing import Any

from sightline.build.context import CaseBuildContext
from sightline.build.manifest import load_case
from sightline.build.plugins import build_plugin
from sightline.build.replacing import MAIN, source_entry
from sightline.build.sources import make_source, source_specs
from sightline.core.case import Case
from sightline.core.errors import ConfigError, NotFound
from sightline.core.plugins import Context, Sink
from sightline.core.ports import ArtifactStore, EventBus, Meter, Runtime
from sightline.core.run import Run
from sightline.core.sample import Sample
from sightline.core.stores import MetadataStore
from sightline.engine.record import fail_dead_runs
from sightline.engine.streams import StreamRun

CAPTURE_CASE = "capture"
"""Name of the case of pictures that nothing is predicted about."""

FORMATS = {"coco": "coco", "yolo": "yolo"}
"""Forms of data sets -> the sinks that write them."""


@dataclass(frozen=True)
class _Elsewhere:
    """The ports of a process, with another artifact store."""

    artifacts: ArtifactStore
    store: MetadataStore
    bus: EventBus
    runtime: Runtime
    meter: Meter


@dataclass(kw_only=True)
class KeptIn(Sink):
    """Another sink, whose artifacts go to a store of its own; models stay where they are.

    Attributes:
        sink: what takes the samples.
        artifacts: where it keeps what it makes.
    """

    sink: Sink
    artifacts: ArtifactStore

    def open(self, context: Context) -> None:
        """Open a copy of the sink."""
        ports = context.ports
        elsewhere = _Elsewhere(self.artifacts, ports.store, ports.bus, ports.runtime, ports.meter)
        self._copy = replace(self.sink)
        self._copy.open(replace(context, ports=elsewhere))

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        """Hand the samples on."""
        self._copy.write(samples)

    def close(self) -> None:
        """Close the copy."""
        self._copy.close()

    def settle(self) -> None:
        """Let the copy settle."""
        self._copy.settle()

    @property
    def made(self) -> Mapping[str, str]:
        """What the copy leaves behind."""
        return self._copy.made


def folder_store(context: CaseBuildContext, folder: Path) -> ArtifactStore:
    """Return a store of artifacts in a folder, which is made where it is not there.

    Raises:
        ConfigError: it cannot be written.
    """
    made: ArtifactStore = context.catalog.load("artifact_stores", "object-store")(str(folder.expanduser().absolute()))
    return made


def capture_case(
    context: CaseBuildContext,
    url: str,
    folder: Path,
    *,
    fps: float | None,
    size: tuple[int, int] | None,
    case: str | None,
    most: int | None,
    similar_bits: int | None,
) -> Case:
    """Return a case that keeps the pictures of a source in a folder.

    Args:
        context: settings and plug-ins.
        url: address of the source.
        folder: where to keep them.
        fps: most pictures a second; None: all.
        size: width and height in pixels that pictures are scaled to; None: as they are.
        case: name of a case whose predictors look at the pictures; None: nothing is predicted.
        most: end after so many.
        similar_bits: see the sink `capture`.

    Raises:
        CaseNotFound: there is no such case.
        ConfigError: the case looks at windows, not at pictures.
    """
    source = make_source(source_entry(url, fps=fps, size=list(size) if size else None), context)
    looks = Case(name=CAPTURE_CASE) if case is None else load_case(case, context=context)
    if looks.collector is not None:
        raise ConfigError(
            f"Case {case!r} looks at windows of samples, not at pictures.", cure="Name one without a collector."
        )
    keep = context.plugin("sinks", "capture", to="", every_s=0.0, most=most, similar_bits=similar_bits)
    sink = KeptIn(sink=keep, artifacts=folder_store(context, folder))
    return replace(looks, sources={MAIN: source}, sinks=(sink,))


def capture_run(
    case: Case,
    context: CaseBuildContext,
    *,
    duration_s: float | None,
    enough: Flag,
    watch: Callable[[Sample[Any]], None],
) -> StreamRun:
    """Return the run of a case for capture; it ends well once `enough` is set."""
    fail_dead_runs(context)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    record = Run(case=case.name)
    outputs = context.settings.runs_root / case.name / f"{stamp}-{record.id[:6]}"
    world = context.world(outputs=outputs.absolute(), stopping=enough)
    specs = source_specs(context, case.name, record)
    return StreamRun(case, world, record, duration_s=duration_s, watch=watch, specs=specs)


@contextmanager
def _place(context: CaseBuildContext, place: str) -> Iterator[tuple[CaseBuildContext, str]]:
    """Give a context and the prefix of the captures at `place`: a folder, or a prefix of the artifact store."""
    folder = Path(place).expanduser()
    if not folder.is_dir():
        yield context, place
        return
    with CaseBuildContext(context.loaded, catalog=context.catalog, artifacts=folder_store(context, folder)) as other:
        yield other, ""


def export_captures(context: CaseBuildContext, place: str, form: str, folder: Path, **options: Any) -> dict[str, Any]:
    """Write a data set of the captures at `place`; return what is in it.

    Args:
        context: settings and plug-ins.
        place: a folder, or a prefix of the artifact store.
        form: one of `FORMATS`.
        folder: of the data set; empty or not there.
        options: fields of the sink.

    Raises:
        NotFound: there are no captures.
        Conflict: there is something in the folder.
        ConfigError: there is no such form.
    """
    if form not in FORMATS:
        raise ConfigError(f"There is no format {form!r}.", cure=f"Known: {', '.join(FORMATS)}.")
    dropped: dict[str, int] = {}

    def drop(reason: str, num: int) -> None:
        dropped[reason] = dropped.get(reason, 0) + num

    with _place(context, place) as (there, prefix):
        kind = there.catalog.load("sinks", FORMATS[form])
        known = {field.name for field in fields(kind)}
        wanted = {name: value for name, value in options.items() if name in known}
        sink = build_plugin("sinks", form, kind, {"path": str(folder.expanduser().absolute()), **wanted})
        source = there.plugin("sources", "captures", prefix=prefix)
        source.open(there.world(source=MAIN, dropped=drop))
        sink.open(there.world(source=MAIN))
        try:
            for sample in source.read():
                sink.write([sample])
            found = dict(sink.facts)
        except NotFound as error:  # the source knows a prefix; the caller may have named a folder
            raise NotFound(f"There are no captures at {place!r}.", cure=error.cure) from None
        finally:
            sink.close()
            source.close()
    return {"format": form, "out": sink.made["data set"], **found, "dropped": dropped}
