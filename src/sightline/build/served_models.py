"""The models of a serving process by their names, for doors that speak tensors.

Wherever a name is taken, `name@version` is too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Lock

from sightline.build.context import CaseBuildContext
from sightline.core.errors import Conflict, InvalidInput, ModelNotFound, Unavailable
from sightline.core.model import ModelCard, checked_model_name, named_version
from sightline.core.ports import ModelHandle
from sightline.engine.registry import Located

_MOST_HANDLES = 4096  # of names that exist; a handle costs little, but a caller must not fill the memory


class ServedModels:
    """Every model of the registry, opened when it is first asked, and the files named at the start.

    Args:
        context: settings and ports.

    Attributes:
        chosen: what was named at the start: files by the names of their models, and models of the registry.
    """

    def __init__(self, context: CaseBuildContext) -> None:
        self._context = context
        self.chosen: list[str] = []
        self._files: dict[str, Path] = {}
        self._handles: dict[tuple[str, str | None], ModelHandle] = {}
        self._unloaded: set[str] = set()
        self._lock = Lock()

    @property
    def files(self) -> Mapping[str, Path]:
        """Models that were given as files: name -> path."""
        return self._files

    def serve_file(self, path: Path) -> str:
        """Serve the model of a file under the name that its card gives, and return that.

        Raises:
            FileMissing: nothing is at the path.
            InvalidModel: it is no ONNX model.
            Conflict: another file was given under this name.
        """
        path = path.absolute()
        name = self._context.registry.locate(str(path)).name
        if self._files.get(name, path) != path:
            raise Conflict(
                f"{self._files[name]} and {path} are both called {name!r}.", cure="Give one of them another name."
            )
        self._files[name] = path
        self._choose(name)
        return name

    def serve(self, ref: str) -> None:
        """Serve a model of the registry as one that was named at the start.

        Raises:
            ModelNotFound: there is no such model or version.
            InvalidInput: it is no model reference.
        """
        self.locate(ref)
        self._choose(ref)

    def locate(self, name: str, version: str | None = None) -> Located:
        """Return where the model lies and what its card says.

        Raises:
            ModelNotFound: there is no such model or version.
            InvalidInput: it is no name; a path never is one here, whoever asks from outside.
        """
        return self._context.registry.locate(self.ref(name, version))

    def ref(self, name: str, version: str | None = None) -> str:
        """Return the reference that opens a model which is called by name.

        Raises:
            ModelNotFound: a file given at the start has no such version.
            InvalidInput: it is no name or no version.
        """
        name, version = named_version(name, version)
        checked_model_name(name)
        if version is not None:
            checked_model_name(version)
        if (path := self._files.get(name)) is not None:
            known = self._context.registry.locate(str(path)).card.version
            if version not in (None, known):
                raise ModelNotFound(f"Model {name!r} has no version {version!r}. Known: {known}.")
            return str(path)
        if name.endswith(".onnx"):  # would be taken for a path
            raise ModelNotFound(f"No model is called {name!r}.", cure="Leave out `.onnx`.")
        return name if version is None else f"{name}@{version}"

    def cached(self, name: str, version: str | None = None) -> ModelHandle | None:
        """Return the handle of a model that was asked before; looks nowhere else, so that a loop may call it."""
        handle = self._handles.get(named_version(name, version))
        return None if handle is None or handle.is_stale else handle

    def handle(self, name: str, version: str | None = None) -> ModelHandle:
        """Return the handle of a model; it opens when it is first used.

        Raises:
            ModelNotFound: there is no such model or version.
            InvalidInput: it is no name.
            Unavailable: somebody unloaded it.
        """
        name, version = key = named_version(name, version)
        handle = self.cached(name, version)
        if handle is None:
            if name in self._unloaded:
                raise Unavailable(f"The model {name!r} was unloaded.", cure=f"POST /v2/repository/models/{name}/load")
            handle = self._context.open_model(self.ref(name, version))
            with self._lock:
                if len(self._handles) >= _MOST_HANDLES:
                    self._handles.clear()
                self._handles[key] = handle
        return handle

    def versions(self, name: str) -> list[str]:
        """Return the versions of a model, the newest first.

        Raises:
            ModelNotFound: there is no such model.
        """
        name, _ = named_version(name)
        card = self.card(name)
        known = [model.version for model in self._context.registry.list() if model.name == card.name]
        return known if name not in self._files and known else [card.version]

    def card(self, name: str, version: str | None = None) -> ModelCard:
        """Return what a model says of itself, with its inputs and outputs; it is opened for that.

        Raises:
            ModelNotFound: there is no such model or version.
        """
        return self.handle(name, version).card

    def names(self) -> list[str]:
        """Return the names that can be asked, files first."""
        listed = sorted({model.name for model in self._context.registry.list()} - self._files.keys())
        return [*self._files, *listed]

    def index(self) -> list[dict[str, str]]:
        """Return every model version with its state, READY where requests are taken."""
        shown = [(name, self.locate(name).card.version) for name in self._files]
        shown += [
            (model.name, model.version) for model in self._context.registry.list() if model.name not in self._files
        ]
        return [
            {
                "name": name,
                "version": version,
                "state": "UNAVAILABLE" if name in self._unloaded else "READY",
                "reason": "unloaded" if name in self._unloaded else "",
            }
            for name, version in shown
        ]

    def load(self, name: str) -> None:
        """Open a model now, and take requests for it again.

        Raises:
            ModelNotFound: there is no such model.
            InvalidModel: the runtime cannot open it.
        """
        self._context.sessions.load(self.ref(name))
        self._unloaded.discard(named_version(name)[0])

    def unload(self, name: str) -> None:
        """Give the memory of a model back, and take no requests for it until it is loaded again.

        Raises:
            ModelNotFound: there is no such model.
            InvalidInput: a version is named: a model is unloaded as a whole.
        """
        name, version = named_version(name)
        if version is not None:
            raise InvalidInput("A model is unloaded with all its versions.", cure=f"Leave out @{version}.")
        self.locate(name)
        self._unloaded.add(name)
        self.forget(name)
        self._context.sessions.unload(self.ref(name))

    def forget(self, name: str) -> None:
        """Look up anew, at the next request, what a model and its versions are."""
        with self._lock:
            for key in [key for key in self._handles if key[0] == name]:
                del self._handles[key]

    def is_unloaded(self, name: str) -> bool:
        """Return whether somebody unloaded the model."""
        return named_version(name)[0] in self._unloaded

    def warm(self) -> None:
        """Open the models that were named at the start.

        Raises:
            InvalidModel: the runtime cannot open one.
        """
        for name in self.chosen:
            self._context.sessions.load(self.ref(name))

    def _choose(self, name: str) -> None:
        if name not in self.chosen:
            self.chosen.append(name)
