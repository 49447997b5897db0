"""A case from its folder or module: manifest, blueprint, and the case's own plug-ins.

Every problem of a manifest is found in one pass, each with its place and the nearest known name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from sightline.build.case_modules import local_plugins, make_from_blueprint
from sightline.build.catalog import KINDS
from sightline.build.context import CaseBuildContext
from sightline.build.documents import Document, read_document, replaced
from sightline.build.folders import BLUEPRINT, CasePlace, find_case
from sightline.build.plugins import all_of, build_plugin, field_names, with_all
from sightline.build.replacing import MAIN, live_entry, source_entry, with_source, with_url
from sightline.core.case import Case, JobRules
from sightline.core.errors import ConfigError, SightlineError, UnknownPlugin
from sightline.core.prediction import JsonObject
from sightline.engine.pipeline import checked_stages
from sightline.settings import expand

KEYS = {
    "name": "name of the case; must be the name of its folder",
    "title": "one line that tells what the case does",
    "source": "the only source, short for sources: {main: ...}",
    "sources": "source id -> source",
    "input": "id of the source that reads request bodies and stored objects",
    "collector": "what stands between validation and the later stages",
    "stages": "stage name -> predictor key -> predictor",
    "sinks": "list of sinks",
    "trainer": "what makes a new model from captured samples",
    "on_error": "continue or stop, when a predictor raises",
    "metadata": "put on every sample",
    "job": "how jobs of it are worked on: concurrency, rate_per_minute, attempts, deadline_s, parameters",
}
"""Keys of a manifest and what they mean."""

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")  # stands in ids of samples, addresses of events, file names


def load_case(
    name: str,
    *,
    context: CaseBuildContext | None = None,
    source: str | None = None,
    changes: JsonObject | None = None,
    live: bool = False,
) -> Case:
    """Return the case called `name`, or in the folder `name`.

    Args:
        name: a name as `sightline list` shows it, or a path.
        context: settings and plug-ins; made from the working directory when not given.
        source: read this URL, webcam index or path instead of the case's own source; `id=URL` where it has several.
        changes: manifest values to replace, by dotted path: `{"stages.analytics.people.threshold": 0.4}`.
        live: for a run that is live: a video file of the manifest is played in real time, again and again, unless the
            manifest says otherwise by `realtime` and `loop`.

    Raises:
        CaseNotFound: there is none.
        ConfigError: the manifest is wrong; all its problems are in `problems`.
        BrokenPlugin: a plug-in or the blueprint raised.
    """
    context = context or CaseBuildContext()
    return _built(find_case(context.loaded, name), context, source, changes or {}, live=live)


def check_case(place: CasePlace, context: CaseBuildContext) -> list[SightlineError]:
    """Return every problem of a case; importing what it names, opening nothing."""
    try:
        _built(place, context, None, {})
    except SightlineError as error:
        return all_of(error)
    return []


def _built(
    place: CasePlace, context: CaseBuildContext, source: str | None, changes: JsonObject, *, live: bool = False
) -> Case:
    """Return the case at `place`; see `load_case`."""
    if place.folder is None or place.manifest is None:
        if changes:
            raise ConfigError(
                f"--set {next(iter(changes))}: case {place.name!r} has no manifest, only a blueprint.",
                cure="Change its blueprint.",
            )
        case = make_from_blueprint(place, context)
    else:
        document = replaced(_document(place, context), changes)
        builder = Builder(document, place, context, live=live)
        if not (place.folder / BLUEPRINT).is_file():
            return builder.case(source)
        case = make_from_blueprint(place, context, manifest=document.data)
    return case if source is None else with_url(case, source, context.catalog)


def _document(place: CasePlace, context: CaseBuildContext) -> Document:
    assert place.manifest is not None and place.folder is not None  # noqa: S101, PT018 - the caller looked
    variables = {"CASE_DIR": str(place.folder.resolve())}
    environ = context.loaded.environ
    return read_document(
        place.manifest, expand=lambda text, location: expand(text, variables, environ, location=location)
    )


class Builder:
    """Builds a case from a document and remembers every problem on the way.

    Args:
        document: the manifest.
        place: where the case is, or will be.
        context: settings and plug-ins.
        live: see `load_case`.
        own: gives the plug-ins of the case's own plugins.py.

    Attributes:
        built: the predictors that could be built, by the path of their keys.
    """

    def __init__(
        self,
        document: Document,
        place: CasePlace,
        context: CaseBuildContext,
        *,
        live: bool = False,
        own: Callable[[CasePlace], dict[str, type[Any]]] = local_plugins,
    ) -> None:
        self.built: dict[tuple[str, ...], Any] = {}
        self._live = live
        self._own = own
        self._document = document
        self._place = place
        self._context = context
        self._problems: list[SightlineError] = []
        self._local: dict[str, type[Any]] = {}
        self._has_broken_plugins = False

    def case(self, source: str | None = None) -> Case:
        """Return the case, with the URL of a source replaced.

        Raises:
            ConfigError: something is wrong; the error carries all problems.
        """
        try:
            self._local = self._own(self._place)
        except SightlineError as error:
            self._problems.append(error)
            self._has_broken_plugins = True
        if source is not None:
            self._document = with_source(self._document, source, self._class)
        data = self._document.data
        self._check_keys()
        sources, ids = self._sources()
        stages = self._stages()
        case = Case(
            name=self._place.name,
            title=self._text("title"),
            sources=sources,
            collector=self._plugin("collectors", data["collector"], "collector") if data.get("collector") else None,
            stages=checked_stages(stages),
            sinks=tuple(self._sinks()),
            trainer=self._plugin("trainers", data["trainer"], "trainer") if data.get("trainer") else None,
            input=self._input(ids),
            on_error=self._on_error(),
            metadata=self._mapping("metadata"),
            job=self._job(),
            folder=self._place.folder,
        )
        if not self._problems and not (sources or stages):
            self._say("The case has neither sources nor stages.", cure="Add source: and stages:.")
        if self._problems:
            raise with_all(sorted(self._problems, key=self._line))
        return case

    def _line(self, problem: SightlineError) -> int:
        """Return where a problem stands in the manifest; 0 for another place."""
        number = problem.location.removeprefix(f"{self._document.name}:")
        return int(number) if number.isdecimal() else 0

    def _check_keys(self) -> None:
        for key in self._document.data:
            if key not in KEYS:
                near = get_close_matches(key, KEYS, n=1)
                cure = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(KEYS)}."
                self._say(f"A case has no key {key!r}.", key, cure=cure)
        name = self._document.data.get("name")
        if name is not None and name != self._place.name:
            self._say(
                f"The case is named {name!r}, its folder {self._place.name!r}.", "name", cure="Make them the same."
            )

    def _sources(self) -> tuple[dict[str, Any], list[str]]:
        """Return the sources that could be built, and the ids of all."""
        data = self._document.data
        if "source" in data and "sources" in data:
            self._say("There are both source and sources.", "source", cure="Keep one of them.")
        entries: list[tuple[str, Any, tuple[str, ...]]] = []
        if "source" in data:
            entries.append((MAIN, data["source"], ("source",)))
        entries += [(id_, entry, ("sources", id_)) for id_, entry in self._mapping("sources").items()]
        if not entries and data.get("stages") and (camera := self._camera()):
            entries.append((MAIN, camera, ("source",)))
        if self._live:
            entries = [(id_, live_entry(entry), where) for id_, entry, where in entries]
        for id_, _, where in entries:
            if not _ID.fullmatch(id_):
                self._say(f"{id_!r} cannot be the id of a source.", *where, cure="Use letters, digits, '.', '_', '-'.")
        built = {id_: self._plugin("sources", entry, *where) for id_, entry, where in entries}
        return {id_: source for id_, source in built.items() if source is not None}, list(built)

    def _camera(self) -> dict[str, Any] | None:
        """Return the source of a case that names none: the camera of the settings, if there is one."""
        camera = self._context.settings.camera
        if camera.url is None:
            return None
        size = None if camera.width is None or camera.height is None else [camera.width, camera.height]
        return source_entry(camera.url, fps=camera.fps, size=size)

    def _stages(self) -> dict[str, dict[str, Any]]:
        stages: dict[str, dict[str, Any]] = {}
        earlier: list[str] = []
        entries = self._mapping("stages")
        order = checked_stages({name: {} for name in entries})
        for stage in order:
            predictors = self._mapping("stages", stage)
            stages[stage] = {}
            for key, entry in predictors.items():
                if key in earlier:
                    self._say(f"Two predictors are called {key!r}.", "stages", stage, key, cure="Rename one.")
                predictor = self._plugin("predictors", entry, "stages", stage, key)
                if predictor is not None:
                    self.built["stages", stage, key] = predictor
                    self._check_reference(predictor, earlier, ("stages", stage, key, "of"))
                    stages[stage][key] = predictor
                earlier.append(key)
        return stages

    def _check_reference(self, predictor: Any, earlier: list[str], where: tuple[str, ...]) -> None:
        """Check that `of`, by which predictors name an earlier one, does name one."""
        of = getattr(predictor, "of", None)
        if isinstance(of, str) and of and of not in earlier and "of" in field_names(type(predictor)):
            near = get_close_matches(of, earlier, n=1)
            known = ", ".join(earlier) or "none"
            cure = f"Did you mean {near[0]!r}?" if near else f"Earlier predictors: {known}."
            self._say(f"No earlier predictor is called {of!r}.", *where, cure=cure)

    def _sinks(self) -> Iterator[Any]:
        sinks = self._document.data.get("sinks") or []
        if not isinstance(sinks, list):
            self._say("sinks must be a list.", "sinks", cure="Write - use: jsonl")
            return
        for number, entry in enumerate(sinks):
            if (sink := self._plugin("sinks", entry, "sinks", number)) is not None:
                yield sink

    def _input(self, sources: list[str]) -> str | None:
        name = self._document.data.get("input")
        if name is not None and (not isinstance(name, str) or name not in sources):
            known = ", ".join(sources) or "none"
            self._say(f"input names no source: {name!r}.", "input", cure=f"Sources: {known}.")
        return name

    def _on_error(self) -> Any:
        value = self._document.data.get("on_error", "continue")
        if value not in ("continue", "stop"):
            self._say(f"on_error is {value!r}.", "on_error", cure="Write continue or stop.")
            return "continue"
        return value

    def _job(self) -> JobRules:
        """Return how jobs are worked on."""
        found = self._mapping("job")
        rules: dict[str, Any] = {}
        for key, value in found.items():
            if key not in (known := [each.name for each in fields(JobRules)]):
                self._say(f"job has no key {key!r}.", "job", key, cure=f"Known: {', '.join(known)}.")
            elif key == "parameters":
                if isinstance(value, list) and all(isinstance(each, str) for each in value):
                    rules[key] = tuple(value)
                else:
                    self._say(f"job.{key} is {value!r}.", "job", key, cure="Write a list of names of fields.")
            elif isinstance(value, bool) or not isinstance(value, int if key != "deadline_s" else int | float):
                self._say(f"job.{key} is {value!r}.", "job", key, cure="Write a number.")
            elif value <= 0:
                self._say(f"job.{key} is {value}; it must be above 0.", "job", key)
            else:
                rules[key] = value
        return JobRules(**rules)

    def _plugin(self, kind: str, entry: Any, *where: str | int) -> Any:
        """Return the plug-in that an entry describes; None when that failed, which is noted."""
        locate: Callable[..., str] = lambda *inner: self._document.location(*where, *inner)  # noqa: E731
        fields = {"use": entry} if isinstance(entry, str) else entry
        if not isinstance(fields, dict) or not isinstance(fields.get("use"), str):
            self._say("This plug-in needs a name.", *where, cure="Write {use: NAME, ...}.")
            return None
        name = fields["use"]
        try:
            rest = {key: value for key, value in fields.items() if key != "use"}
            return build_plugin(kind, name, self._class(kind, name, locate("use")), rest, locate=locate)
        except SightlineError as error:
            self._problems += all_of(error)
            return None

    def _class(self, kind: str, name: str, location: str = "") -> type[Any]:
        """Return the class called `name`: the case's own, or an installed one.

        Raises:
            ConfigError: nothing has that name, or it cannot be used.
        """
        own = self._local.get(name)
        if own is None:
            near = get_close_matches(name, [known for known, found in self._local.items() if _is(found, kind)], n=1)
            try:
                return self._context.catalog.load(kind, name, location=location)
            except UnknownPlugin as error:
                if near:
                    error.cure = f"Did you mean {near[0]!r}, of the case's own plugins.py?"
                elif self._has_broken_plugins:
                    error.cure = "Perhaps it is in the case's plugins.py, which cannot be loaded."
                raise
        if not _is(own, kind):
            raise ConfigError(
                f"{name!r} of plugins.py is no {KINDS[kind].__name__}.",
                cure=f"Only classes that inherit {KINDS[kind].__name__} can stand here.",
                location=location,
            )
        return own

    def _mapping(self, *where: str) -> dict[str, Any]:
        value: Any = self._document.data
        for key in where:
            value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._say(f"{'.'.join(where)} must be a mapping.", *where, cure="Write key: value below it.")
            return {}
        return value

    def _text(self, key: str) -> str:
        value = self._document.data.get(key, "")
        if not isinstance(value, str):
            self._say(f"{key} must be text.", key)
            return ""
        return value

    def _say(self, message: str, *where: str | int, cure: str = "") -> None:
        self._problems.append(ConfigError(message, cure=cure, location=self._document.location(*where)))


def _is(found: type[Any], kind: str) -> bool:
    return issubclass(found, KINDS[kind])
