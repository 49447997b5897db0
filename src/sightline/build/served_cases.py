"""The cases of a serving process by their names, and single models asked as if they were cases."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from difflib import get_close_matches
from threading import Lock, RLock
from typing import Any

from sightline.build.context import CaseBuildContext
from sightline.build.folders import CasePlace, find_case, list_cases
from sightline.build.loaded_model import case_of_model
from sightline.build.manifest import load_case
from sightline.build.plugins import all_of
from sightline.build.request_sources import requests_of
from sightline.build.served_models import ServedModels
from sightline.core.case import Case
from sightline.core.errors import CaseNotFound, InvalidInput, SightlineError, Unavailable
from sightline.core.model import named_version, split_ref
from sightline.engine.cache import AnswerCache
from sightline.engine.requests import Requests

SHIPPED_MODEL = "efficientnet-lite0"
"""Answers where nothing was named, neither at the start nor by the settings nor by the caller."""

_MOST_MODELS = 64  # whose predictors are kept; names that exist, but a caller must not fill the memory


class ServedCases:
    """Answers single requests by cases and by models.

    Where cases or models were named at the start, only those cases are served; where nothing was, every case of the
    case folders, built when it is first asked.

    Args:
        context: settings and ports.
        models: models by name; those of `context` when not given.

    Attributes:
        answers: keeps answers for equal requests, as the setting `models.cache_mb` says.
    """

    def __init__(self, context: CaseBuildContext, models: ServedModels | None = None) -> None:
        self._context = context
        self._models = models or ServedModels(context)
        self.answers = AnswerCache(context.settings.models.cache_mb << 20)
        self._named: dict[str, str] = {}  # name of a case -> as it was named at the start: perhaps by its path
        self._broken: dict[str, tuple[object, SightlineError]] = {}
        self._retired: list[tuple[float, Requests]] = []
        self._of_settings = ""
        self._cases: dict[str, Requests] = {}
        self._by_model: OrderedDict[tuple[str, str | None], Requests] = OrderedDict()
        # A blueprint is run with the context's `manifest`, and its modules are loaded anew: one at a time.
        self._building = RLock()
        self._lock = Lock()

    def serve(self, name: str) -> str:
        """Serve a case, which is built now; return its name.

        One that is wrong is served as soon as it has been mended; until then it answers with what is wrong.

        Args:
            name: a name, or the path of a case folder.

        Raises:
            CaseNotFound: there is none.
        """
        place = find_case(self._context.loaded, name)
        self._named.setdefault(place.name, name)
        with suppress(SightlineError):  # `problems` tells it
            self._built(place.name)
        return place.name

    def place(self, name: str) -> CasePlace:
        """Return where the case called `name` is; a path never is a name here.

        Raises:
            CaseNotFound: there is none.
        """
        if name in self._named:
            return find_case(self._context.loaded, self._named[name])
        places = list_cases(self._context.loaded)
        for place in places:
            if place.name == name and not place.hidden_by:
                return place
        near = get_close_matches(name[:128], [place.name for place in places], n=1)
        cure = f"Did you mean {near[0]!r}?" if near else "See GET /api/v1/cases."
        raise CaseNotFound(f"No case is called {name[:128]!r}.", cure=cure)

    def places(self) -> Mapping[str, CasePlace]:
        """Return the cases that there are, by name; those too that were named by their path."""
        listed = {place.name: place for place in list_cases(self._context.loaded) if not place.hidden_by}
        given = [name for name, given in self._named.items() if given != name]
        return {**listed, **{name: self.place(name) for name in given}}

    def load(self, name: str, **how: Any) -> Case:
        """Return a case by its name; see `load_case`.

        Raises:
            CaseNotFound: there is none.
            ConfigError: it is wrong.
        """
        self.place(name)
        with self._building:
            return load_case(self._named.get(name, name), context=self._context, **how)

    def problems(self) -> Mapping[str, Sequence[SightlineError]]:
        """Return what is wrong with the cases that were named at the start and cannot be served."""
        return {name: all_of(error) for name, (_, error) in self._broken.items() if name in self._named}

    def renew(self, place: CasePlace) -> None:
        """Answer the next request to a case as it is now, and there; requests that are under way end as they began.

        Raises:
            SightlineError: what is wrong with it.
        """
        name = place.name
        with self._building:
            if name in self._named and self.place(name).folder != place.folder:
                self._named[name] = name  # it was named by its path, and is a copy now that goes first
            before = self._cases.pop(name, None)
            self._broken.pop(name, None)
            if before is not None:
                before.retire()
                with self._lock:
                    self._retired.append((time.monotonic(), before))
            if before is not None or name in self._named:
                self._built(name)

    def tend(self) -> None:
        """Close what nobody can be asking any more."""
        end_s = time.monotonic() - 2 * self._context.settings.server.deadline_s
        with self._lock:
            gone = [requests for since_s, requests in self._retired if since_s < end_s]
            self._retired = [each for each in self._retired if each[0] >= end_s]
        for requests in gone:
            requests.close()

    @property
    def building(self) -> AbstractContextManager[object]:
        """Hold it while a case, or a source of one, is built: blueprints share the context, modules load anew."""
        return self._building

    @property
    def on_demand(self) -> bool:
        """True where every case may be asked, for nothing was named at the start."""
        return not (self._named or self._chosen())

    def names(self) -> list[str]:
        """Return the names of the cases that can be asked."""
        if not self.on_demand:
            return [*self._named]
        return sorted({place.name for place in list_cases(self._context.loaded)})

    def get(self, name: str | None = None) -> Requests:
        """Return what answers for a case.

        Where none is named, it is the only one that is served; where no case is, the model of `default_model`, else
        the shipped classifier.

        Raises:
            CaseNotFound: no case of that name is served; a path never is a name here.
            InvalidInput: none was named, and several are served.
            ConfigError: the case, built when it is first asked, is wrong.
        """
        if name is None:
            return self._default()
        if (found := self._cases.get(name)) is not None:
            return found
        known = self.names()
        if name not in known:
            shown, near = ", ".join(known) or "none", get_close_matches(name[:128], known, n=1)
            raise CaseNotFound(
                f"No case {name[:128]!r} is served. Served: {shown}.",
                cure=f"Did you mean {near[0]!r}?" if near else "See GET /api/v1/cases.",
            )
        return self._built(name)

    def for_model(self, name: str, version: str | None = None) -> Requests:
        """Return what answers for one model: the predictor for its task, and what its alias adds.

        Raises:
            ModelNotFound: there is no such model or version.
            InvalidInput: it is no name; a path never is one here.
            ConfigError: nothing can do its task.
            Unavailable: somebody unloaded it.
        """
        name, version = key = named_version(name, version)
        if self._models.is_unloaded(name):
            raise Unavailable(f"The model {name!r} was unloaded.", cure=f"POST /v2/repository/models/{name}/load")
        with self._lock:
            if (found := self._by_model.get(key)) is not None:
                self._by_model.move_to_end(key)
                return found
        ref = self._models.ref(name, version)
        with self._building:
            made = requests_of(case_of_model(self._context, ref), self._context)
        with self._lock:
            found = self._by_model.setdefault(key, made)
            left = self._by_model.popitem(last=False)[1] if len(self._by_model) > _MOST_MODELS else None
        if left is not None:
            left.close()
        return found

    def forget(self, name: str) -> None:
        """Build anew, at the next request, what answers for a model and its versions."""
        with self._lock:
            left = [self._by_model.pop(key) for key in list(self._by_model) if key[0] == name]
        for requests in left:
            requests.close()

    def default_model(self) -> tuple[str, str | None] | None:
        """Return name and version of the model that is meant where none is named: the only chosen, else the settings'.

        None where there is neither.

        Raises:
            InvalidInput: several models were named at the start.
        """
        settings, chosen = self._context.settings, self._chosen()
        if len(chosen) > 1:
            raise InvalidInput(
                f"Several models are served: {', '.join(chosen)}.", cure="Name one: ?model=NAME, or `model` in JSON."
            )
        if chosen:
            return named_version(chosen[0])
        if settings.model_path is not None:
            self._of_settings = self._models.serve_file(settings.model_path)
            return self._of_settings, None
        return None if settings.model_name is None else split_ref(settings.model_name)

    def warm(self) -> None:
        """Open the models of what was named at the start, or of what answers where nothing was.

        Raises:
            SightlineError: what is wrong with one.
        """
        chosen = self._chosen()
        wanted = [requests for name in self._named if (requests := self._cases.get(name)) is not None]
        # A file that names no task is for doors that speak tensors; nothing is wrong with it.
        wanted += [self.for_model(name) for name in chosen if self._models.locate(name).card.task]
        for requests in wanted if self._named or chosen else [self._default()]:
            requests.warm()

    def close(self) -> None:
        """Close all predictors and sinks; a second call does nothing."""
        with self._lock:
            made = [*self._cases.values(), *self._by_model.values(), *(requests for _, requests in self._retired)]
            self._by_model.clear()
        for requests in made:
            requests.close()

    def _built(self, name: str) -> Requests:
        """Return what answers for a case, built where it is not; a wrong one is built again when a file has changed.

        Raises:
            SightlineError: what is wrong with it.
        """
        with self._building:
            if (found := self._cases.get(name)) is not None:
                return found
            state = self.place(name).state()
            if (before := self._broken.get(name)) is not None and before[0] == state:
                raise before[1]
            try:
                made = requests_of(load_case(self._named.get(name, name), context=self._context), self._context)
            except CaseNotFound:
                raise
            except SightlineError as error:
                self._broken[name] = state, error
                raise
            self._broken.pop(name, None)
            self._cases[name] = made
            return made

    def _chosen(self) -> list[str]:
        """Return the models that were named at the start."""
        return [name for name in self._models.chosen if name != self._of_settings]

    def _default(self) -> Requests:
        if len(self._named) > 1:
            raise InvalidInput(
                f"Several cases are served: {', '.join(self._named)}.", cure="Name one: ?case=NAME, or `case` in JSON."
            )
        if self._named:
            return self._built(next(iter(self._named)))
        return self.for_model(*(self.default_model() or (SHIPPED_MODEL, None)))
