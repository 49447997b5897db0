"""The tree of settings: names, types, defaults and descriptions.

Knows no file and no environment; `load_settings` does. Descriptions, `examples` and `default_text` (what a default is
called where its value depends on the machine) become the reference page and the two example files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, model_validator

from sightline.settings.forms import (
    ADDRESS,
    AuthMode,
    Endpoint,
    FileName,
    Level,
    Names,
    Section,
    default_data_root,
)
from sightline.settings.work import (
    BackendSettings,
    JobsSettings,
    MedicalSettings,
    WebhooksSettings,
)


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
    max_batch: int | None = Field(
        default=None,
        ge=1,
        description="Most rows in one call of a model.",
        examples=[8],
        json_schema_extra={"default_text": "measured in the first idle moment after a model is loaded"},
    )
    queue_rows: int = Field(default=256, ge=1, description="Most rows that wait for one model.", examples=[256])
    memory_mb: int | None = Field(
        default=None,
        ge=1,
        description="Memory for open models; the least recently used one makes room for the next. None: no limit.",
        examples=[2048],
    )
    cache_mb: int = Field(
        default=0,
        ge=0,
        description="Memory for answers that are given again to equal requests; 0: none.",
        examples=[64],
    )


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


class ServerSettings(Section):
    """The HTTP and gRPC server of `sightline serve`."""

    host: str = Field(
        default="127.0.0.1",
        description="Address to listen at; 0.0.0.0 is every one.",
        examples=["0.0.0.0"],  # noqa: S104 - an example for those who want it
    )
    port: int = Field(default=8000, ge=0, le=65535, description="Port of HTTP; 0 takes a free one.", examples=[8000])
    grpc_port: int | None = Field(
        default=None, ge=0, le=65535, description="Port of gRPC; None: no gRPC; 0 takes a free one.", examples=[8001]
    )
    tls_cert: Path | None = Field(default=None, description="Certificate (PEM) for TLS.", examples=["tls/cert.pem"])
    tls_key: Path | None = Field(default=None, description="Key (PEM) of the certificate.", examples=["tls/key.pem"])
    cors_origins: Names = Field(
        default=(),
        description="Origins of web pages that may ask; on a loopback address those of loopback always may.",
        examples=["https://app.example.org"],
    )
    max_body_mb: int = Field(default=64, ge=1, description="Largest request body in MiB.", examples=[64])
    max_upload_mb: int = Field(
        default=4096, ge=1, description="Largest object that may be uploaded, in MiB.", examples=[4096]
    )
    object_folders: Names = Field(
        default=("uploads/", "results/"),
        description="What the keys begin with that callers may read, write and have worked on; never folders of the "
        "platform itself (`models/`, `runs/`). `{project}` is the project of the caller; for admins, each.",
        examples=["uploads/,results/,studies/"],
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        description="Threads that work on requests which need more than a model (decoding, predictors).",
        examples=[8],
        json_schema_extra={"default_text": "4 for each processor core"},
    )
    queue: int = Field(default=128, ge=1, description="Most requests that wait for a thread.", examples=[128])
    deadline_s: float = Field(
        default=60.0, gt=0, description="Seconds that a request may take which names no deadline.", examples=[10.0]
    )
    body_timeout_s: float = Field(
        default=30.0, gt=0, description="Seconds in which a request body must have arrived.", examples=[30.0]
    )
    drain_s: float = Field(
        default=30.0, ge=0, description="Seconds that what runs may take to finish after SIGTERM.", examples=[30.0]
    )


class AuthSettings(Section):
    """Who may ask."""

    mode: AuthMode = Field(
        default="auto",
        description="`auto` asks for a key except on a loopback address, `on` always, `off` never.",
        examples=["on"],
    )
    service_token: SecretStr | None = Field(
        default=None, description="Token that other programs show.", examples=["a-long-random-text"]
    )
    insecure: bool = Field(
        default=False,
        description="Take secrets of published examples (`change_me_secure_token`, `minioadmin`) outside loopback too.",
        examples=[True],
    )
    rate_per_minute: int | None = Field(
        default=None, ge=1, description="Requests a minute that each key may make. None: no limit.", examples=[600]
    )
    jwks: str | None = Field(
        default=None,
        description="File or address of the public keys (JWKS) that sign tokens (RS256, ES256).",
        examples=["https://login.example.org/.well-known/jwks.json"],
        json_schema_extra=ADDRESS,
    )
    jwt_secret: SecretStr | None = Field(
        default=None, description="Secret that signs tokens on a single node (HS256).", examples=["32-random-bytes"]
    )
    jwt_issuer: str | None = Field(
        default=None, description="`iss` that tokens must carry.", examples=["https://login.example.org/"]
    )
    jwt_audience: str | None = Field(default=None, description="`aud` that tokens must carry.", examples=["sightline"])


class RecordsSettings(Section):
    """How long is kept what the server writes down."""

    request_days: int = Field(
        default=30, ge=0, description="Days that rows of the request log are kept; 0: none are written.", examples=[30]
    )
    event_days: int = Field(default=90, ge=1, description="Days that events are kept.", examples=[90])
    prediction_days: int = Field(default=30, ge=1, description="Days that predictions are kept.", examples=[30])
    run_days: int = Field(default=365, ge=1, description="Days that ended runs are kept.", examples=[365])
    audit_days: int = Field(
        default=0,
        ge=0,
        description="Days that lines of the audit chain are kept, at least; 0: for ever. A line tells what went.",
        examples=[730],
    )
    media_days: int = Field(
        default=30, ge=1, description="Days that pictures and clips of events are kept.", examples=[30]
    )
    media_gb: float | None = Field(
        default=20.0,
        gt=0,
        description="Gigabytes that they may take; beyond that the oldest go. None: no limit.",
        examples=[20.0],
    )


class MeterSettings(Section):
    """What the meters do besides counting."""

    emf: bool = Field(
        default=False,
        description="Also write CloudWatch embedded metric lines on stdout.",
        examples=[True],
    )
    emf_namespace: str = Field(default="Sightline", description="Namespace of those lines.", examples=["Sightline"])
    service: str = Field(default="sightline", description="Their dimension `service`.", examples=["door-camera"])
    otel: bool = Field(
        default=False,
        description="Send OpenTelemetry spans where `OTEL_EXPORTER_OTLP_ENDPOINT` says (extra `otel`).",
        examples=[True],
    )
    log_every: int = Field(
        default=50, ge=1, description="Frames or requests between two of those lines.", examples=[50]
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
    webhooks: WebhooksSettings = Field(default_factory=WebhooksSettings)
    server: ServerSettings = Field(default_factory=ServerSettings)
    auth: AuthSettings = Field(default_factory=AuthSettings)
    records: RecordsSettings = Field(default_factory=RecordsSettings)
    jobs: JobsSettings = Field(default_factory=JobsSettings)
    meter: MeterSettings = Field(default_factory=MeterSettings)
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
