"""A case from its folder or module: manifest, blueprint, and the case's own plug-ins.

Every problem of a manifest is found in one pass, each with its place and the nearest known name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from sightline.build.case_modules import local_plugins, make_from_blueprint
from sightline.build.context import CaseBuildContext
from sightline.build.documents import Document, read_document, replaced
from sightline.build.folders import BLUEPRINT, CasePlace, find_case
from sightline.build.plugins import build_plugin, field_names
from sightline.core.case import Case
from sightline.core.errors import ConfigError, SightlineError
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
}
"""Keys of a manifest and what they mean."""

MAIN = "main"
"""Id of the source of a case that names only one."""


def load_case(
    name: str,
    *,
    context: CaseBuildContext | None = None,
    source: str | None = None,
    changes: JsonObject | None = None,
) -> Case:
    """Return the case called `name`, or in the folder `name`.

    Args:
        name: a name as `sightline list` shows it, or a path.
        context: settings and plug-ins; made from the working directory when not given.
        source: read this URL, webcam index or path instead of the case's own source; `id=URL` where it has several.
        changes: manifest values to replace, by dotted path: `{"stages.analytics.people.threshold": 0.4}`.

    Raises:
        CaseNotFound: there is none.
        ConfigError: the manifest is wrong; all its problems are in `problems`.
        BrokenPlugin: a plug-in or the blueprint raised.
    """
    context = context or CaseBuildContext()
    place = find_case(context.loaded, name)
    if place.folder is None or place.manifest is None:
        case = make_from_blueprint(place, context)
        return case if source is None else _with_url(case, source)
    document = replaced(_document(place, context), changes or {})
    if source is not None:
        document = _with_source(document, source)
    if (place.folder / BLUEPRINT).is_file():
        return make_from_blueprint(place, context, manifest=document.data)
    return _Builder(document, place, context).case()


def check_case(place: CasePlace, context: CaseBuildContext) -> list[SightlineError]:
    """Return every problem of a case; importing what it names, opening nothing."""
    try:
        load_case(str(place.folder) if place.folder else place.name, context=context)
    except ConfigError as error:
        return [error, *getattr(error, "problems", ())[1:]]
    except SightlineError as error:
        return [error]
    return []


def _document(place: CasePlace, context: CaseBuildContext) -> Document:
    assert place.manifest is not None and place.folder is not None  # noqa: S101, PT018 - the caller looked
    variables = {"CASE_DIR": str(place.folder.resolve())}
    environ = context.loaded.environ
    return read_document(
        place.manifest, expand=lambda text, location: expand(text, variables, environ, location=location)
    )


def _with_source(document: Document, source: str) -> Document:
    """Return the document with the URL of a source replaced."""
    sources = document.data.get("sources") or {}
    id_, equals, url = source.partition("=")
    if isinstance(sources, dict) and equals and id_ in sources:
        return replaced(document, {f"sources.{id_}.url": url})
    if "source" in document.data:
        entry = document.data["source"]
        whole = {"use": "video", "url": source} if isinstance(entry, str) else None
        return replaced(document, {"source": whole} if whole else {"source.url": source})
    if isinstance(sources, dict) and len(sources) == 1:
        return replaced(document, {f"sources.{next(iter(sources))}.url": source})
    known = ", ".join(sources)
    raise ConfigError(
        f"The case has several sources: {known}." if sources else "The case has no source to replace.",
        cure=f"Name one: --source {next(iter(sources), 'ID')}=URL" if sources else "Add source: to the manifest.",
        location=document.name,
    )


def _with_url(case: Case, source: str) -> Case:
    """Return a case from a blueprint with the URL of its only source replaced."""
    if len(case.sources) == 1:
        (id_, plugin), *_ = case.sources.items()
        if "url" in field_names(type(plugin)):
            fields: dict[str, Any] = {"url": source}
            return replace(case, sources={id_: replace(plugin, **fields)})
    raise ConfigError(f"The source of case {case.name!r} cannot be replaced.", cure="Change its blueprint.")


class _Builder:
    """Builds a case from a document and remembers every problem on the way."""

    def __init__(self, document: Document, place: CasePlace, context: CaseBuildContext) -> None:
        self._document = document
        self._place = place
        self._context = context
        self._problems: list[SightlineError] = []
        self._local: dict[str, type[Any]] = {}

    def case(self) -> Case:
        data = self._document.data
        try:
            self._local = local_plugins(self._place)
        except SightlineError as error:
            self._problems.append(error)
        self._check_keys()
        sources = self._sources()
        stages = self._stages()
        case = Case(
            name=self._place.name,
            title=self._text("title"),
            sources=sources,
            collector=self._plugin("collectors", data["collector"], "collector") if data.get("collector") else None,
            stages=checked_stages(stages),
            sinks=tuple(self._sinks()),
            trainer=self._plugin("trainers", data["trainer"], "trainer") if data.get("trainer") else None,
            input=self._input(sources),
            on_error=self._on_error(),
            metadata=self._mapping("metadata"),
        )
        if not self._problems and not (sources or stages):
            self._say("The case has neither sources nor stages.", cure="Add source: and stages:.")
        if self._problems:
            first = self._problems[0]
            first.problems = self._problems  # type: ignore[attr-defined]
            raise first
        return case

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

    def _sources(self) -> dict[str, Any]:
        data = self._document.data
        if "source" in data and "sources" in data:
            self._say("There are both source and sources.", "source", cure="Keep one of them.")
        entries: list[tuple[str, Any, tuple[str, ...]]] = []
        if "source" in data:
            entries.append((MAIN, data["source"], ("source",)))
        entries += [(id_, entry, ("sources", id_)) for id_, entry in self._mapping("sources").items()]
        built = {id_: self._plugin("sources", entry, *where) for id_, entry, where in entries}
        return {id_: source for id_, source in built.items() if source is not None}

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
                if predictor is None:
                    continue
                self._check_reference(predictor, earlier, ("stages", stage, key, "of"))
                earlier.append(key)
                stages[stage][key] = predictor
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

    def _input(self, sources: Mapping[str, Any]) -> str | None:
        name = self._document.data.get("input")
        if name is not None and name not in sources:
            known = ", ".join(sources) or "none"
            self._say(f"input names no source: {name!r}.", "input", cure=f"Sources: {known}.")
        return name

    def _on_error(self) -> Any:
        value = self._document.data.get("on_error", "continue")
        if value not in ("continue", "stop"):
            self._say(f"on_error is {value!r}.", "on_error", cure="Write continue or stop.")
        return value

    def _plugin(self, kind: str, entry: Any, *where: str | int) -> Any:
        """Return the plug-in that an entry describes; None when that failed, which is noted."""
        locate: Callable[..., str] = lambda *inner: self._document.location(*where, *inner)  # noqa: E731
        fields = {"use": entry} if isinstance(entry, str) else entry
        if not isinstance(fields, dict) or not isinstance(fields.get("use"), str):
            self._say("This plug-in needs a name.", *where, cure="Write {use: NAME, ...}.")
            return None
        name = fields["use"]
        try:
            found = self._local.get(name) or self._context.catalog.load(kind, name, location=locate("use"))
            rest = {key: value for key, value in fields.items() if key != "use"}
            return build_plugin(kind, name, found, rest, locate=locate)
        except SightlineError as error:
            self._problems.append(error)
            return None

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
