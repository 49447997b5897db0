"""The ports of one process, made from the settings when they are first used, replaceable one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any, Self, TypeVar, cast
from urllib.parse import urlsplit

import structlog
from pydantic import SecretStr

from sightline.build.catalog import PORT_KINDS, Catalog, broken
from sightline.build.plugins import build_plugin
from sightline.build.profiles import KIND as PROFILES
from sightline.build.profiles import profile_folders
from sightline.core.errors import BrokenPlugin, ConfigError, SightlineError
from sightline.core.events import Event
from sightline.core.plugins import Context, Remote
from sightline.core.ports import ArtifactStore, EventBus, Meter, ModelHandle, Runtime
from sightline.core.prediction import JsonObject
from sightline.core.stores import MetadataStore
from sightline.engine.isolation import run_isolated
from sightline.engine.registry import ModelRegistry
from sightline.engine.sessions import ModelSessions, SessionLayout
from sightline.settings import AppSettings, LoadedSettings, load_settings

log = structlog.get_logger()
ZOO = Path(__file__).parent.parent / "zoo"
T = TypeVar("T")
_KINDS = {
    "artifacts": "artifact_stores",
    "store": "metadata_stores",
    "bus": "event_buses",
    "runtime": "runtimes",
    "meter": "meters",
}


class CaseBuildContext:
    """Settings, plug-ins and ports; what `make_blueprint` is given and what runs are made with.

    Every port can be replaced: from Python by an argument (`CaseBuildContext(bus=MyBus())`), by setting with the name
    of an entry point or an import path (`adapters.bus: mypackage.bus:MyBus`); such a class is called with the
    settings when it has a class method `from_settings`, else without arguments.

    Attributes:
        manifest: manifest of the case whose blueprint is being asked; empty without one.

    Args:
        loaded: the settings with their origins; read from the working directory when not given.
        catalog: the plug-ins; the installed ones when not given.
        artifacts: bytes by key; this and the following replace what the settings name.
        store: what the platform records.
        bus: what happens now.
        runtime: opens models.
        meter: operational numbers.
    """

    def __init__(
        self,
        loaded: LoadedSettings | None = None,
        *,
        catalog: Catalog | None = None,
        artifacts: ArtifactStore | None = None,
        store: MetadataStore | None = None,
        bus: EventBus | None = None,
        runtime: Runtime | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.loaded = loaded or load_settings()
        self.catalog = catalog or Catalog()
        self.manifest: JsonObject = {}
        self._lock = RLock()
        given = {"artifacts": artifacts, "store": store, "bus": bus, "runtime": runtime, "meter": meter}
        self._given = {name: port for name, port in given.items() if port is not None}
        for name, port in self._given.items():
            wanted = PORT_KINDS[_KINDS[name]]
            if not isinstance(port, wanted):
                raise ConfigError(
                    f"CaseBuildContext({name}=...) is a {type(port).__name__}, no {wanted.__name__}.",
                    cure=f"Inherit sightline.core.ports.{wanted.__name__}.",
                )
        self._made: dict[str, Any] = dict(self._given)

    @property
    def settings(self) -> AppSettings:
        """The settings."""
        return self.loaded.settings

    @property
    def artifacts(self) -> ArtifactStore:
        """Bytes by key."""
        return cast("ArtifactStore", self._once("artifacts", self._port))

    @property
    def store(self) -> MetadataStore:
        """What the platform records."""
        return cast("MetadataStore", self._once("store", self._port))

    @property
    def bus(self) -> EventBus:
        """What happens now."""
        return cast("EventBus", self._once("bus", self._port))

    @property
    def runtime(self) -> Runtime:
        """Opens models."""
        return cast("Runtime", self._once("runtime", self._port))

    @property
    def meter(self) -> Meter:
        """Operational numbers."""
        return cast("Meter", self._once("meter", self._port))

    @property
    def registry(self) -> ModelRegistry:
        """Finds and adds models."""
        return cast("ModelRegistry", self._once("registry", self._registry))

    @property
    def sessions(self) -> ModelSessions:
        """All open models of this process."""
        return cast("ModelSessions", self._once("sessions", self._sessions))

    def open_model(self, ref: str) -> ModelHandle:
        """Return a handle of the model that `ref` means.

        Raises:
            ModelNotFound: nothing has that name.
            InvalidModel: the file is no ONNX model.
        """
        return self.sessions.open(ref)

    def world(self, *, case_folder: Path | None = None, **fields: Any) -> Context:
        """Return the world of a plug-in of a case, with `fields` of `Context` set."""
        settings = self.settings
        backend = urlsplit(settings.backend.url or "").hostname
        reachable = (*settings.webhooks.allow, *([backend] if backend else []))
        pacs = settings.medical.dicomweb
        password = _revealed(pacs.password) or ""
        archive = Remote(url=pacs.url or "", user=pacs.user or "", password=password, readable=pacs.studies)
        remotes = {"dicomweb": archive}
        folders = {PROFILES: profile_folders(settings, case_folder)}
        fixed: dict[str, Any] = {"reachable": reachable, "remotes": remotes, "isolation": run_isolated}
        fixed["folders"] = folders
        return Context(ports=self, open_model=self.open_model, **fixed, **fields)

    def plugin(self, kind: str, name: str, **fields: Any) -> Any:
        """Return a plug-in for a blueprint: `context.plugin("predictors", "detector", threshold=0.4)`.

        Raises:
            ConfigError: there is none of that name, or a field is unknown or wrong.
        """
        return build_plugin(kind, name, self.catalog.load(kind, name), fields)

    def close(self) -> None:
        """Close what was made here; ports that were given stay open. A second call does nothing."""
        with self._lock:
            made, self._made = self._made, dict(self._given)
        for name in ("sessions", "bus", "store", "meter"):
            if name in made and name not in self._given:
                try:
                    if name != "meter" or hasattr(made[name], "close"):  # most meters have nothing to close
                        made[name].close()
                except Exception as error:  # noqa: BLE001 - an adapter may raise anything; the others must be closed too
                    log.warning("port did not close", port=name, error=str(error))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _once(self, name: str, make: Callable[[str], Any]) -> Any:
        """Return what `make` gave under `name`; many threads may ask for it first."""
        found = self._made.get(name)
        if found is None:
            with self._lock:
                found = self._made.get(name)
                if found is None:
                    found = self._made[name] = make(name)
        return found

    def _registry(self, _: str) -> ModelRegistry:
        return ModelRegistry(
            models=lambda: self.store.models,
            artifacts=lambda: self.artifacts,
            root=self.settings.models_root,
            shipped=ZOO,
        )

    def _sessions(self, _: str) -> ModelSessions:
        models = self.settings.models
        layout = SessionLayout(
            device=self.settings.device,
            num_workers=models.workers,
            max_batch=models.max_batch,
            queue_rows=models.queue_rows,
            memory_bytes=None if models.memory_mb is None else models.memory_mb << 20,
        )
        return ModelSessions(
            registry=self.registry,
            runtime=self.runtime,
            meter=self.meter,
            layout=layout,
            folder=self.settings.models_root / "cache",
            tell=self._tell,
        )

    def _tell(self, event: Event) -> None:
        """Record an event and publish it; a database that is away loses the record, not the publication."""
        try:
            self.store.events.append([event])
        except SightlineError as error:
            log.warning("event was not recorded", type=event.short_type, error=str(error))
        self.bus.publish(event)

    def _port(self, name: str) -> Any:
        """Make the adapter that the settings name."""
        kind, adapter = _KINDS[name], str(getattr(self.settings.adapters, name))
        origin = self.loaded.origin(f"adapters.{name}")
        location = f"setting adapters.{name}" if origin == "default" else origin
        found = self.catalog.load(kind, adapter, location=location)
        try:
            if factory := _FACTORIES.get((kind, adapter)):
                made = factory(found, self.settings)
            elif hasattr(found, "from_settings"):
                made = found.from_settings(self.settings)
            else:
                made = found()
        except SightlineError:
            raise
        except Exception as error:
            raise broken(f"The {kind} adapter {adapter!r}", error, location) from error
        if not isinstance(made, PORT_KINDS[kind]):
            raise BrokenPlugin(
                f"{adapter!r} made a {type(made).__name__}, not a {PORT_KINDS[kind].__name__}.",
                cure="Its from_settings must return the port.",
                location=location,
            )
        return _with_lines(made, self.settings) if isinstance(made, Meter) and self.settings.meter.emf else made


def _with_lines(meter: Meter, settings: AppSettings) -> Meter:
    from sightline.adapters.meter_emf import EmfMeter  # here, for few want it

    wanted = settings.meter
    return EmfMeter(meter, namespace=wanted.emf_namespace, service=wanted.service, log_every=wanted.log_every)


def _object_store(kind: Callable[..., ArtifactStore], settings: AppSettings) -> ArtifactStore:
    s3 = settings.s3
    if s3.bucket is None:
        return kind(str(settings.artifacts_root))
    prefix = s3.prefix.strip("/")
    return kind(
        f"s3://{s3.bucket}/{prefix}" if prefix else f"s3://{s3.bucket}",
        endpoint=s3.endpoint,
        access_key=_revealed(s3.access_key),
        secret_key=_revealed(s3.secret_key),
        region=s3.region,
        allow_http=(s3.endpoint or "").startswith("http://"),
    )


def _sql_store(kind: Callable[..., MetadataStore], settings: AppSettings) -> MetadataStore:
    return kind(settings.database.url or settings.database.path)


def _plain(kind: Callable[..., T], settings: AppSettings) -> T:  # noqa: ARG001 - the form of all factories
    return kind()


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


_FACTORIES: Mapping[tuple[str, str], Callable[[Any, AppSettings], Any]] = {
    ("artifact_stores", "object-store"): _object_store,
    ("metadata_stores", "sql"): _sql_store,
    ("event_buses", "memory"): _plain,
    ("runtimes", "onnx"): _plain,
    ("meters", "prometheus"): _plain,
}
