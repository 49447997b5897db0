"""The tree of settings: names, types, defaults and descriptions.

Knows no file and no environment; `load_settings` does. Descriptions, `examples` and `default_text` (what a default is
called where its value depends on the machine) become the reference page and the two example files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic.config import JsonDict

from sightline.core.urls import redacted

ADDRESS: JsonDict = {"address": True}  # may carry a password: shown without it, may be given by *_FILE
"""Mark (`json_schema_extra`) of a setting that is an address."""


def default_data_root() -> Path:
    """Return where a user's programs keep their data on this system, for instance `~/.local/share/sightline`."""
    return Path(platformdirs.user_data_dir("sightline", appauthor=False))


def _split(value: Any) -> Any:
    """Split `a, b`, the form of lists in the environment; older systems wrote them as JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            raise ValueError("it starts as a JSON list and is none") from None
    return [item.strip() for item in value.split(",") if item.strip()]


def _with_scheme(value: Any) -> Any:
    """Put `http://` before `minio:9000`, as the clients of MinIO do."""
    return f"http://{value}" if isinstance(value, str) and value and "://" not in value else value


def _file_name(value: Any) -> Any:
    if isinstance(value, str) and (not value or value in (".", "..") or "/" in value or "\\" in value):
        raise ValueError("it must be a file name without a folder")
    return value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Endpoint = Annotated[str, BeforeValidator(_with_scheme)]
FileName = Annotated[str, BeforeValidator(_file_name)]
Level = Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)]


class Section(BaseModel):
    """Settings that belong together; frozen, unknown names are errors, its repr tells no password."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        coerce_numbers_to_str=True,  # `url: 0` is a webcam, `device: 0` a GPU
        validate_by_name=True,
        validate_by_alias=True,
    )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            field = type(self).model_fields.get(name or "")
            is_address = field is not None and field.json_schema_extra == ADDRESS
            yield name, redacted(value) if is_address and isinstance(value, str) else value


class DatabaseSettings(Section):
    """Where runs, models, events and predictions are recorded."""

    url: str | None = Field(
        default=None,
        description="SQLAlchemy address of a database server; it wins over `database.path`.",
        examples=["postgresql+psycopg://sightline:password@localhost/sightline"],
        json_schema_extra=ADDRESS,
    )
    path: Path = Field(
        default_factory=lambda: default_data_root() / "sightline.db",
        description="File of the embedded SQLite database.",
        examples=["data/sightline.db"],
        json_schema_extra={"default_text": "sightline.db in data_root"},
    )


class S3Settings(Section):
    """The S3 or MinIO bucket that holds artifacts; without `bucket` they lie in `artifacts_root`."""

    endpoint: Endpoint | None = Field(
        default=None,
        description="Address of the server; without a scheme it is http. None means Amazon's.",
        examples=["http://localhost:9000"],
        json_schema_extra=ADDRESS,
    )
    access_key: SecretStr | None = Field(default=None, description="Name of the access key.", examples=["minioadmin"])
    secret_key: SecretStr | None = Field(
        default=None, description="Secret of the access key.", examples=["minioadmin-secret"]
    )
    bucket: str | None = Field(default=None, description="Name of the bucket.", examples=["sightline"])
    region: str | None = Field(default=None, description="Region of the bucket.", examples=["eu-central-1"])
    prefix: str = Field(default="", description="Put before every key, for instance `team-a/`.", examples=["team-a/"])


class CameraSettings(Section):
    """The camera of cases that name no source of their own."""

    url: str | None = Field(
        default=None,
        description="Address of the stream, index of a webcam, or path of a video file.",
        examples=["rtsp://user:password@camera.local/stream1"],
        json_schema_extra=ADDRESS,
    )
    model: str | None = Field(
        default=None,
        description="Reference of the model that looks at the camera.",
        examples=["person_detector"],
    )
    width: int | None = Field(
        default=None, ge=1, description="Width of the frames in pixels; None keeps the camera's.", examples=[640]
    )
    height: int | None = Field(
        default=None, ge=1, description="Height of the frames in pixels; None keeps the camera's.", examples=[360]
    )
    fps: float | None = Field(
        default=None, gt=0, description="Frames per second that are looked at; None takes all.", examples=[5.0]
    )


class ModelsSettings(Section):
    """How models run."""

    workers: int | None = Field(
        default=None,
        ge=1,
        description="Threads that run each model.",
        examples=[4],
        json_schema_extra={"default_text": "number of processor cores"},
    )
    max_batch: int = Field(default=8, ge=1, description="Most rows in one call of a model.", examples=[8])
    queue_rows: int = Field(default=256, ge=1, description="Most rows that wait for one model.", examples=[256])


class AdaptersSettings(Section):
    """Which adapter stands behind each port: the name of an entry point, or `package.module:Name`."""

    artifacts: str = Field(
        default="object-store", description="ArtifactStore: bytes by key.", examples=["my.module:Store"]
    )
    store: str = Field(default="sql", description="MetadataStore: runs, models, events.", examples=["sql"])
    bus: str = Field(default="memory", description="EventBus: what happens now.", examples=["memory"])
    runtime: str = Field(default="onnx", description="Runtime: opens models on a device.", examples=["onnx"])
    meter: str = Field(default="prometheus", description="Meter: operational numbers.", examples=["prometheus"])


class LogSettings(Section):
    """What is logged, and how."""

    level: Level = Field(default="info", description="The least important level that is logged.", examples=["debug"])
    as_json: bool | None = Field(
        default=None,
        alias="json",
        description="Log JSON lines, or lines for people.",
        examples=[True],
        json_schema_extra={"default_text": "JSON where the output is no terminal"},
    )


class BackendSettings(Section):
    """The program that asks this one."""

    url: str | None = Field(
        default=None,
        description="Address of the application that hears of results.",
        examples=["http://backend:8080"],
        json_schema_extra=ADDRESS,
    )


class AuthSettings(Section):
    """Who may ask."""

    service_token: SecretStr | None = Field(
        default=None, description="Token that other programs show.", examples=["a-long-random-text"]
    )


class MedicalSettings(Section):
    """Medical cases."""

    default_profile: str | None = Field(
        default=None, description="Profile of a request that names none.", examples=["lung"]
    )
    decision_threshold: float | None = Field(
        default=None, ge=0, le=1, description="Probability from which a finding is positive.", examples=[0.5]
    )


class AppSettings(Section):
    """All settings. Built in Python they come from the arguments alone; `load_settings` reads files and environment."""

    data_root: Path = Field(
        default_factory=default_data_root,
        description="Folder for everything that Sightline keeps.",
        examples=["data"],
        json_schema_extra={"default_text": "the system's folder for a user's data"},
    )
    cases_root: Path | None = Field(
        default=None,
        description="Folder of case folders, besides the shipped ones, `./cases` and `./samples`.",
        examples=["my-cases"],
    )
    models_root: Path = Field(
        default_factory=lambda data: data["data_root"] / "models",
        description="Folder of model files.",
        examples=["data/models"],
        json_schema_extra={"default_text": "models in data_root"},
    )
    artifacts_root: Path = Field(
        default_factory=lambda data: data["data_root"] / "artifacts",
        description="Folder of artifacts, where they are not in a bucket.",
        examples=["data/artifacts"],
        json_schema_extra={"default_text": "artifacts in data_root"},
    )
    runs_root: Path = Field(
        default=Path("runs"),
        description="Folder of what a run makes for people: drawn videos, event files.",
        examples=["runs"],
        json_schema_extra={"default_text": "runs in the working folder"},
    )
    manifest_name: FileName = Field(
        default="case.yaml", description="Name of the file that makes a folder a case.", examples=["case.yaml"]
    )
    blueprint_modules: Names = Field(
        default=(),
        description="Import paths of modules with `make_blueprint(context)`, separated by commas.",
        examples=["company.door,company.yard"],
    )
    device: str = Field(
        default="auto", description="Device that models run on: `auto`, `cpu`, `cuda`, `cuda:1`.", examples=["cpu"]
    )
    model_path: Path | None = Field(
        default=None, description="Model file to use where nothing names a model.", examples=["model.onnx"]
    )
    model_name: str | None = Field(
        default=None,
        description="Reference of the model to use where nothing names one.",
        examples=["mobilenet_v3_small"],
    )
    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    s3: S3Settings = Field(default_factory=S3Settings)
    camera: CameraSettings = Field(default_factory=CameraSettings)
    models: ModelsSettings = Field(default_factory=ModelsSettings)
    adapters: AdaptersSettings = Field(default_factory=AdaptersSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    backend: BackendSettings = Field(default_factory=BackendSettings)
    auth: AuthSettings = Field(default_factory=AuthSettings)
    medical: MedicalSettings = Field(default_factory=MedicalSettings)

    @model_validator(mode="before")
    @classmethod
    def _database_in_data_root(cls, data: Any) -> Any:
        """Put the database below `data_root`, also where only other fields of `database` are given."""
        if not isinstance(data, Mapping) or not isinstance(data.get("data_root"), str | Path):
            return data
        database = data.get("database", {})
        if not isinstance(database, Mapping):
            return data
        return {**data, "database": {"path": Path(data["data_root"]) / "sightline.db", **database}}
