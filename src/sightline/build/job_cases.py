"""The cases of jobs: found by name, as their files say now, with the parameters of a job put into their plug-ins."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from functools import lru_cache
from threading import Lock, RLock
from typing import Any

import yaml

from sightline.build.context import CaseBuildContext
from sightline.build.folders import CasePlace, list_cases
from sightline.build.manifest import load_case
from sightline.build.plugins import build_plugin
from sightline.build.request_sources import source_finder
from sightline.core.case import Case
from sightline.core.errors import CaseNotFound, ConfigError, InvalidInput
from sightline.core.jobs import Limit
from sightline.core.prediction import JsonObject
from sightline.engine.job_steps import JobCase

_LOOK_S = 5.0  # how long a new case, or a limit that was changed, goes unnoticed


class JobCases:
    """Gives cases to jobs; any thread may call it.

    Args:
        context: settings and ports.
        load: gives a case by its name; those of the case folders when not given.
        places: gives the cases that there are, by name; those of the case folders when not given.
    """

    def __init__(
        self,
        context: CaseBuildContext,
        load: Callable[[str], Case] | None = None,
        places: Callable[[], Mapping[str, CasePlace]] | None = None,
    ) -> None:
        self._context = context
        self._load = load or (lambda name: load_case(name, context=context))
        self._places = places or (lambda: _listed(context))
        self._building = RLock()
        self._cases: dict[str, tuple[object, Case]] = {}
        self._looking = Lock()
        self._looked_s = float("-inf")
        self._known: Mapping[str, CasePlace] = {}
        self._limits: Mapping[str, Limit] = {}

    def names(self) -> Sequence[str]:
        """Return the cases that this process knows: a job of another one waits for a process that does."""
        self._look()
        return tuple(self._known)

    def limits(self) -> Mapping[str, Limit]:
        """Return what the jobs of each case may take, of those that say so in their manifests."""
        self._look()
        return self._limits

    def case(self, name: str, parameters: JsonObject | None = None) -> Case:
        """Return a case by its name, with parameters.

        Raises:
            CaseNotFound: there is none.
            ConfigError: it is wrong.
            InvalidInput: no plug-in of it has such a field, or the value is wrong.
        """
        self._look(name)
        place = self._known.get(name)
        if place is None:
            shown = ", ".join(sorted(self._known)) or "none"
            raise CaseNotFound(f"No case is called {name[:128]!r}.", cure=f"Known: {shown}.")
        state = place.state()
        with self._building:
            built = self._cases.get(name)
            if built is None or built[0] != state:
                built = self._cases[name] = state, self._load(name)
        return with_parameters(built[1], parameters or {})

    def made(self, name: str, parameters: JsonObject) -> JobCase:
        """Return what a worker needs of a case; see `case`."""
        case = self.case(name, parameters)
        outputs = self._context.settings.runs_root / case.name / "jobs"
        world = self._context.world(case_folder=case.folder, outputs=outputs.absolute())
        return JobCase(case=case, context=world, source_for=source_finder(case, self._context))

    def _look(self, name: str | None = None) -> None:
        """Read which cases there are and what they may take: every few seconds, and for a name that is new."""
        with self._looking:
            is_known = name is None or name in self._known
            if is_known and time.monotonic() - self._looked_s < _LOOK_S:
                return
            self._known = dict(self._places())
            found = {name: _limit(place) for name, place in self._known.items()}
            self._limits = {name: limit for name, limit in found.items() if limit is not None}
            self._looked_s = time.monotonic()


def with_parameters(case: Case, parameters: JsonObject) -> Case:
    """Return a case with fields replaced in every plug-in that has them: sources, predictors and sinks.

    Raises:
        InvalidInput: none has such a field, or the value is wrong.
    """
    for name, value in parameters.items():
        num = 0

        def changed(plugin: Any, name: str = name, value: Any = value) -> Any:
            nonlocal num
            own = [each.name for each in fields(plugin) if each.init]
            if name not in own:
                return plugin
            num += 1
            now = {each: getattr(plugin, each) for each in own}
            kind = type(plugin)
            try:
                return build_plugin("", kind.__name__, kind, {**now, name: value})
            except ConfigError as error:
                raise InvalidInput(f"Parameter {name}: {error.message}", cure=error.cure) from None

        case = replace(
            case,
            sources={key: changed(source) for key, source in case.sources.items()},
            stages={
                stage: {key: changed(predictor) for key, predictor in each.items()}
                for stage, each in case.stages.items()
            },
            sinks=tuple(changed(sink) for sink in case.sinks),
        )
        if not num:
            raise InvalidInput(f"No plug-in of {case.name!r} takes {name[:128]}.", cure=_instead(case, name[:128]))
    return case


def _instead(case: Case, name: str) -> str:
    """Return what somebody may have meant who named a field that no plug-in has."""
    plugins = [
        *case.sources.values(),
        *(each for stage in case.stages.values() for each in stage.values()),
        *case.sinks,
    ]
    known = {each.name for plugin in plugins for each in fields(plugin) if each.init}
    if near := get_close_matches(name, known, 1):
        return f"Did you mean {near[0]!r}?"
    return f"It takes {', '.join(case.job.parameters)}." if case.job.parameters else f"Leave {name} out."


def _listed(context: CaseBuildContext) -> Mapping[str, CasePlace]:
    return {place.name: place for place in list_cases(context.loaded) if not place.hidden_by}


def _limit(place: CasePlace) -> Limit | None:
    """Return what a manifest says of its jobs, without building the case: a wrong one has no limits, and no jobs."""
    try:
        return None if place.manifest is None else _limit_of(place.manifest.read_text("utf-8"))
    except (OSError, ValueError):
        return None


@lru_cache(512)  # the same texts are looked at every few seconds, and to read YAML takes milliseconds
def _limit_of(manifest: str) -> Limit | None:
    try:
        rules = (yaml.safe_load(manifest) or {}).get("job") or {}
        numbers = [rules.get(name) for name in ("concurrency", "rate_per_minute")]
        concurrency, rate = (each if type(each) is int else None for each in numbers)
        limit = Limit(concurrency=concurrency, rate_per_minute=rate)
    except (ValueError, yaml.YAMLError, AttributeError):
        return None
    return None if limit == Limit() else limit
