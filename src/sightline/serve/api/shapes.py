"""Shapes of what the management doors take and answer; FastAPI makes the document from them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from sightline.core.access import Scope
from sightline.core.run import RunKind, RunState

T = TypeVar("T")
JsonObject: TypeAlias = dict[str, Any]
Word: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=128)]
ModelName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Line: TypeAlias = Annotated[str, StringConstraints(max_length=512)]
Time: TypeAlias = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Address: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
SourceEntry: TypeAlias = Address | JsonObject
"""A URL, path or webcam index; or a plug-in as in a manifest, `{"use": "video", "url": ...}`."""


class Asked(BaseModel):
    """A body that a caller sends; unknown members are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Page(BaseModel, Generic[T]):
    """A page of a list."""

    items: list[T]
    next: str | None = Field(description="Give it as `after` for the next page; null at the end.")


class Problem(BaseModel):
    """Why a request failed (RFC 9457)."""

    type: str = Field(description="Page that explains the code.")
    title: str
    status: int
    code: str = Field(description="Stable, safe to match on.")
    detail: str = Field(description="What is wrong, with which thing.")
    cure: str = Field(description="What to do about it.")
    instance: str
    request_id: str
    errors: list[JsonObject] | None = Field(default=None, description="What is wrong where: `loc` and `message`.")
    error: str | None = Field(
        default=None, description="The detail, where clients of the Open Inference Protocol look."
    )


class CaseShape(BaseModel):
    """A case as it is seen."""

    name: str
    title: str
    origin: str = Field(description="Where it was found.")
    sources: list[str]
    streams: bool = Field(description="It can be started; false where a source is filled by jobs alone.")
    stages: dict[str, list[str]] = Field(description="Predictors of each stage.")
    served: bool = Field(description="Requests may ask it: `POST /predict?case=`.")
    running: list[str] = Field(description="Ids of its runs in this process.")
    problems: list[JsonObject] = Field(description="What is wrong with it: `code`, `message`, `cure`.")
    safe_mode: bool = Field(description="It was to be served, and is as soon as it has been mended.")


class CaseDetail(CaseShape):
    """A case with its manifest; what is secret in it is hidden."""

    manifest: JsonObject | None = Field(description="null for a case that is Python alone.")


class QueueShape(BaseModel):
    """Where a job stands."""

    position: int = Field(description="1 for the one that is taken next; 0 when it does not wait.")
    expected_wait_s: float | None = Field(description="From how long jobs took lately; null where nobody knows.")


class RunShape(BaseModel):
    """A run."""

    id: str
    case: str
    kind: RunKind
    project: str
    parent: str | None
    state: RunState
    spec: JsonObject = Field(description="What is wanted.")
    revision: int = Field(description="Rises with each change of the spec; it is the ETag.")
    status: JsonObject = Field(
        description="What is seen: counters of each source; of a job `progress stage message attempt steps made files`."
    )
    metadata: dict[str, str]
    stands: bool = Field(description="It does not end with its sources; whoever wants its end stops it.")
    cancelling: bool
    restart: str
    worker: str | None
    here: bool = Field(description="This process executes it.")
    created: Time | None
    started: Time | None
    finished: Time | None
    duration_s: float | None = Field(description="Until its end, or until now; null before it began.")
    counts: dict[str, int] = Field(
        description="Over all sources: `sources live read processed reconnects dropped ...`."
    )
    error: str | None
    cure: str = Field(description="What to do about the error.")
    needs_restart: str = Field(description="Why it must be restarted to be as its case says; mostly empty.")
    waiting: str = Field(description="Why it was not taken up after its process had ended; mostly empty.")
    error_kind: str = Field(description="Of a job that failed: `storage model validation timeout internal`, or empty.")
    priority: int
    deadline: Time | None = Field(description="Of a job: when it fails at the latest.")
    due: Time | None = Field(description="Of a job that waits for its next attempt: when that begins at the earliest.")
    attempts: int = Field(description="How often a job was taken up.")
    key: str | None = Field(description="Idempotency-Key of a job.")
    queue: QueueShape | None = Field(description="Of a single job; null in lists.")


class RunWish(Asked):
    """A run to be started."""

    case: Word = Field(examples=["street_people"])
    source: SourceEntry | None = Field(
        default=None,
        description="In place of the case's own source: URL, path, webcam index, or a plug-in with its fields; "
        "`id=URL` for one of several.",
    )
    sources: dict[Word, SourceEntry] | None = Field(
        default=None, description="In place of all sources of the case.", max_length=64
    )
    metadata: dict[Word, Line] = Field(default_factory=dict, max_length=64)
    duration_s: float | None = Field(default=None, gt=0, le=31_536_000, description="End after this long.")
    restart: Literal["always", "on_failure", "never"] | None = Field(
        default=None,
        description="Go on in the next process when this one has ended. By default `always` for what has no end of its "
        "own: cameras, and runs that stand.",
    )
    stands: bool | None = Field(
        default=None,
        description="Do not end with the sources: others may be added, and video files are played in real time, again "
        "and again, unless they say otherwise. By default only a run stands that begins without any source.",
    )


class SourceWish(Asked):
    """How a source is to be read."""

    source: SourceEntry = Field(
        examples=["rtsp://camera/door", {"use": "video", "url": "rtsp://camera/door", "fps": 5}]
    )


class NewSource(SourceWish):
    """A source that is added to a run."""

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")]


class RunSource(BaseModel):
    """A source of a run."""

    id: str
    source: JsonObject = Field(description="Its plug-in and fields; what is secret is hidden.")
    status: JsonObject | None = Field(description="What is seen of it; null before it was first read.")


class SourceState(BaseModel):
    """A source of a run that goes on, with its numbers."""

    model_config = ConfigDict(extra="allow")

    run: str
    case: str
    source: str
    state: str
    reason: str
    since: Time | None = Field(description="When the state began.")
    lost_since: Time | None = Field(description="When its last frame came before it was lost; null while it is not.")
    retry_at: Time | None = Field(description="When it will be opened again.")
    tries: int = Field(description="How often that was tried since it was lost.")
    epoch: int
    reconnects: int
    stuck: int = Field(description="Threads that were left behind.")
    read: int
    processed: int
    fps: float | None = Field(description="Analysed a second; null until it is known.")
    source_fps: float | None = Field(description="Given by the source.")
    wanted_fps: float | None = Field(description="Asked of it; null: every frame.")
    age_s: float | None = Field(description="Of its newest frame.")
    size: list[int] | None = Field(description="Width and height of its newest picture.")
    dropped: dict[str, int] = Field(description="By reason.")
    is_live: bool | None
    inference_ms: float | None = Field(description="What the predictors took for its newest frame.")
    cpu_ms_per_s: float | None = Field(description="Processor time of its reader and analyser threads.")


class ProbeWish(Asked):
    """An address to look at."""

    url: Address = Field(examples=["rtsp://camera/door"])
    fps: float = Field(default=2.0, ge=0.01, le=1000, description="Rate that is wanted, for the advice.")


class TensorShape(BaseModel):
    """An input or output."""

    name: str
    dtype: str
    shape: list[int | str | None]


class ModelShape(BaseModel):
    """A version of a model: its card."""

    name: str
    version: str
    ref: str
    task: str
    title: str
    description: str
    licence: str
    source: str
    digest: str
    batchable: bool
    labels: list[str | None]
    preprocessing: JsonObject
    postprocessing: JsonObject
    metrics: JsonObject
    inputs: list[TensorShape] = Field(description="Empty where the model could not be opened to see them.")
    outputs: list[TensorShape]
    aliases: list[str]
    created: Time | None


class ModelLine(BaseModel):
    """A model in the list."""

    name: str
    version: str = Field(description="The one that the name alone means.")
    task: str
    title: str
    licence: str
    versions: list[str] = Field(description="The newest first.")
    aliases: dict[str, str] = Field(description="Alias -> version.")
    loaded: list[str] = Field(description="Versions that are open in this process.")
    unloaded: bool = Field(description="Somebody unloaded it: it takes no requests until it is loaded.")


class AliasMove(BaseModel):
    """When an alias was moved to which version."""

    time: Time
    version: str


class AliasShape(BaseModel):
    """An alias of a model."""

    alias: str
    version: str
    history: list[AliasMove] = Field(description="The newest first.")


class ModelDetail(ModelShape):
    """A model: the card of what its name means now, and all that is known around it."""

    versions: list[str]
    moved: list[AliasShape] = Field(description="Aliases with their history.")
    loaded: list[JsonObject] = Field(description="Versions that were used in this process.")
    unloaded: bool
    split: dict[str, float] = Field(description="Shares of versions between which calls are split; mostly empty.")
    shadow: bool = Field(description="Calls are copied to another version; GET .../shadow compares the answers.")


class ModelFile(Asked):
    """The file of a model; one of the four."""

    path: Address | None = Field(default=None, description="File on the server; for admins.")
    model: Address | None = Field(
        default=None, description="A known model, whose file is taken.", examples=["nanodet-m"]
    )
    artifact: Address | None = Field(default=None, description="Key in the artifact store.")
    base64: str | None = Field(default=None, description="The ONNX file itself.")


class ModelWish(Asked):
    """What a model is made of; what is left out is that of the file."""

    name: ModelName | None = None
    file: ModelFile | None = Field(default=None, description="Left out where the file is uploaded.")
    task: Line | None = Field(default=None, examples=["image-classification"])
    labels: list[Line | None] | Word | None = Field(
        default=None, description="Names by class id, or the model that has them.", max_length=100_000
    )
    preset: Line | None = Field(default=None, description="Known recipe of preprocessing.", examples=["torchvision"])
    preprocessing: JsonObject | None = None
    postprocessing: JsonObject | None = None
    title: Line | None = None
    description: Annotated[str, StringConstraints(max_length=10_000)] | None = None
    licence: Line | None = None
    source: Line | None = None
    aliases: list[ModelName] = Field(default_factory=list, max_length=32)
    force: bool = Field(default=False, description="Take a version that is for another task than those before.")


class AliasWish(Asked):
    """Where an alias shall point."""

    version: ModelName
    expected: ModelName | None = Field(
        default=None,
        description="The version it must point at now; null: nowhere. Left out, it is moved from wherever it points.",
    )


class SplitWish(Asked):
    """Shares of the calls for versions of a model."""

    weights: dict[ModelName, Annotated[float, Field(ge=0, le=1e9)]] = Field(
        min_length=1, max_length=16, examples=[{"3": 0.9, "4": 0.1}]
    )


class SplitShape(BaseModel):
    """Shares of the calls that versions of a model get; empty where one gets all."""

    model: str
    weights: dict[str, float]


class ShadowWish(Asked):
    """A version that gets copies of calls."""

    version: ModelName
    share: float = Field(default=0.1, gt=0, le=1, description="Share of the calls that is copied.")


class LoadShape(BaseModel):
    """Whether a model takes requests."""

    name: str
    unloaded: bool
    loaded: list[JsonObject]


class KeyShape(BaseModel):
    """An API key, without what is secret of it."""

    id: str
    name: str
    scopes: list[Scope]
    project: str
    created: Time | None
    expires: Time | None
    revoked: Time | None
    state: str = Field(description="valid, expired or revoked.")


class NewKey(KeyShape):
    """A key that was just made."""

    key: str = Field(description="The key itself; it cannot be shown again.")


class KeyWish(Asked):
    """A key to be made."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    scopes: list[Scope] = Field(default_factory=lambda: [Scope.READ, Scope.INFER], min_length=1, max_length=4)
    expires: datetime | None = Field(default=None, description="When it ends; never where left out.")
    project: Annotated[str, StringConstraints(min_length=1, max_length=64)] = "default"


class RequestShape(BaseModel):
    """A request that was answered; never what was in it."""

    time: Time
    id: str
    method: str
    route: str
    status: int
    latency_ms: float
    model: str
    case: str
    caller: str
    bytes_in: int
    bytes_out: int
