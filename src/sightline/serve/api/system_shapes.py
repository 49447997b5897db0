"""Shapes of what is told of the process: its numbers, its log."""

from __future__ import annotations

from pydantic import BaseModel, Field

from sightline.serve.api.shapes import JsonObject, SourceState, Time


class ProcessShape(BaseModel):
    """This process."""

    uptime_s: float
    cpu_share: float = Field(description="Of one core: 1.5 is one and a half cores.")
    rss_bytes: int
    threads: int
    requests: int = Field(description="Being answered now.")
    waiting_requests: int
    websockets: int


class MachineShape(BaseModel):
    """The machine that it is on."""

    name: str
    system: str
    cores: int
    load_1_min: float
    memory_bytes: int
    memory_available_bytes: int


class GpuShape(BaseModel):
    """A GPU of the machine."""

    name: str
    busy_share: float
    memory_bytes: int
    memory_used_bytes: int
    temperature_c: float


class LoadedShape(BaseModel):
    """A model version that was used in this process."""

    ref: str
    name: str
    version: str
    is_open: bool
    memory_bytes: int = Field(description="Estimate.")
    queue_rows: int = Field(description="Rows that wait.")
    max_batch: int
    workers: int
    threads: int
    idle_s: float | None
    loads: int = Field(description="How often it was opened.")
    batches: int = Field(description="Answered since it was opened.")
    batch_rows: float | None = Field(description="Mean rows of the last batches.")
    p50_ms: float | None = Field(description="What the last batches took in the model.")
    p95_ms: float | None


class StoreShape(BaseModel):
    """What a store takes of the disk."""

    name: str
    kind: str
    place: str
    bytes: int | None = Field(description="null for what is not on this disk, or not known yet.")
    files: int | None
    is_whole: bool = Field(description="False: there are more files than could be counted in a few seconds.")
    free_bytes: int | None


class CameraPoint(BaseModel):
    """A source at one moment."""

    state: str
    fps: float | None
    age_s: float | None
    dropped: int = Field(description="In all, for every reason.")
    cpu_ms_per_s: float | None


class ModelPoint(BaseModel):
    """A model at one moment."""

    queue_rows: int
    p50_ms: float | None
    p95_ms: float | None


class SystemPoint(BaseModel):
    """The process at one moment."""

    time: Time
    cpu_share: float
    rss_bytes: int
    requests: int
    cameras: dict[str, CameraPoint] = Field(description="`run/source` -> its numbers.")
    models: dict[str, ModelPoint] = Field(description="Of the open ones, by `name@version`.")
    gpus: list[float] = Field(description="Busy share of each.")


class SafeMode(BaseModel):
    """A case that was to be served or run, and is not until it has been mended."""

    case: str
    problems: list[JsonObject] = Field(description="`code`, `message` with file and line, `cure`.")


class SystemShape(BaseModel):
    """How this process is."""

    time: Time
    process: ProcessShape
    machine: MachineShape
    gpus: list[GpuShape]
    models: list[LoadedShape]
    cameras: list[SourceState] = Field(description="As GET /api/v1/sources.")
    stores: list[StoreShape]
    versions: dict[str, str]
    safe_mode: list[SafeMode]
    warnings: list[str]
    every_s: float = Field(description="Between two points of the history.")
    history: list[SystemPoint] = Field(description="The oldest first; the last `time` is the next `since`.")


class LogLine(BaseModel):
    """A line of the log; secrets are hidden."""

    id: int
    time: Time
    level: str
    message: str
    fields: JsonObject


class LogPage(BaseModel):
    """The tail of the log."""

    items: list[LogLine] = Field(description="The oldest first.")
    next: str = Field(description="Give it as `after` for what comes next.")
    lost: int = Field(description="Lines behind `after` that are kept no more.")
