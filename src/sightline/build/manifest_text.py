"""The text of a manifest as somebody writes it: every problem with its place, before anything is saved or opened.

Nothing of a text is run here: a class that it names is imported, as for every check, and its fields are looked at. A
case with a blueprint is only read as YAML, for what its keys mean its Python alone knows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from sightline.build.case_modules import PLUGINS, local_plugins
from sightline.build.context import CaseBuildContext
from sightline.build.documents import Document, Spot, parse_document
from sightline.build.folders import BLUEPRINT, CasePlace
from sightline.build.manifest import Builder
from sightline.build.plugins import all_of, field_names
from sightline.core.errors import ConfigError, SightlineError
from sightline.core.urls import redacted
from sightline.settings import expand

MOST_BYTES = 256 << 10
"""Of a manifest that is sent: it is read line by line while somebody waits."""

_MOST_KNOWN = 16  # cases whose own plug-ins are remembered
_SHORTEST = 4  # letters of a variable's value that is looked for inside other words
_LONGEST = 58  # letters of a wrong value that are told


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong with a manifest, and where.

    Attributes:
        line, column: counted from 1.
        loc: the keys that lead there, with dots between them; empty for the whole.
        severity: a `warning` does not keep the manifest from being saved and run.
    """

    line: int
    column: int
    loc: str
    message: str
    cure: str
    code: str
    severity: Literal["error", "warning"] = "error"

    def as_json(self) -> dict[str, Any]:
        """Return it as it is told."""
        return asdict(self)


class ManifestChecker:
    """Checks texts; remembers the plug-ins of cases between two keys of a keyboard.

    Args:
        context: settings and plug-ins.
    """

    def __init__(self, context: CaseBuildContext) -> None:
        self._context = context
        self._own: OrderedDict[tuple[Path, int, int], dict[str, type[Any]]] = OrderedDict()
        self._lock = Lock()

    def check(self, text: str, place: CasePlace) -> list[Problem]:
        """Return all problems of a manifest, those of the YAML first, then by line.

        Args:
            text: the manifest.
            place: the case that it is for, or will be.
        """
        variables = _Variables(self._context, place)
        name = self._context.settings.manifest_name
        try:
            document = parse_document(text, name=name, expand=variables)
        except SightlineError as error:
            return [variables.hidden(_problem(each)) for each in (*variables.problems, error)]
        found = [_problem(error) for error in variables.problems]
        if place.folder is not None and (place.folder / BLUEPRINT).is_file():
            return found
        unset = {problem.loc for problem in found}
        # What an unset variable would have been nobody knows, so nothing else is said of its field.
        found += [problem for problem in self._of(document, place) if problem.loc not in unset]
        return [variables.hidden(problem) for problem in sorted(found, key=lambda each: (each.line, each.column))]

    def _of(self, document: Document, place: CasePlace) -> Iterator[Problem]:
        builder = Builder(document, place, self._context, own=self._plugins)
        try:
            builder.case()
        except SightlineError as error:
            yield from map(_problem, all_of(error))
        yield from self._models(builder, document)

    def _models(self, builder: Builder, document: Document) -> Iterator[Problem]:
        """Yield a warning for each model that nobody knows; it may be added before the case runs."""
        known: Sequence[str] | None = None
        for where, predictor in builder.built.items():
            names = field_names(type(predictor))
            ref = getattr(predictor, "model", None)
            if "model" not in names or "url" in names or not isinstance(ref, str) or not ref:
                continue  # with a url the model lives elsewhere
            if ref.endswith(".onnx") or "/" in ref or "\\" in ref:
                is_known, cure = Path(ref).expanduser().is_file(), "Check the path."
            else:
                known = self._context.registry.names() if known is None else known
                is_known = ref.partition("@")[0] in known
                cure = f"Known: {', '.join(known)}. Add it before the case runs."
            if not is_known:
                spot = document.location(*where, "model")
                error = ConfigError(f"No model is called {ref!r} yet.", cure=cure, location=spot)
                yield _problem(error, severity="warning", code="model_not_found")

    def _plugins(self, place: CasePlace) -> dict[str, type[Any]]:
        """Return the plug-ins of a case, loaded when their file has changed."""
        path = None if place.folder is None else place.folder / PLUGINS
        try:
            stat = None if path is None else path.stat()
        except OSError:
            return {}
        if path is None or stat is None:
            return {}
        key = path, stat.st_mtime_ns, stat.st_size
        with self._lock:
            if key not in self._own:
                self._own[key] = local_plugins(place)
                if len(self._own) > _MOST_KNOWN:
                    self._own.popitem(last=False)
            return self._own[key]


class _Variables:
    """Puts variables in, collects those that are not set, and hides what was put in from what is told."""

    def __init__(self, context: CaseBuildContext, place: CasePlace) -> None:
        self.problems: list[SightlineError] = []
        folder = place.folder or Path()
        self._own = {"CASE_DIR": str(folder.absolute())}
        self._environ = context.loaded.environ
        self._used: dict[str, str] = {}

    def __call__(self, text: str, location: str) -> str:
        try:
            put_in = expand(text, self._own, self._environ, location=location)
        except ConfigError as error:
            self.problems.append(error)
            return text
        if put_in != expand(text, self._own, _Written(), location=location):
            self._used[put_in] = text
            self._used |= {value: f"${{{name}}}" for name, value in self._environ.items() if f"{{{name}" in text}
        return put_in

    def hidden(self, problem: Problem) -> Problem:
        """Return a problem in which variables stand as they were written."""
        return replace(problem, message=self._without(problem.message), cure=self._without(problem.cure))

    def _without(self, said: str) -> str:
        for value, written in sorted(self._used.items(), key=lambda pair: -len(pair[0])):
            quoted = repr(redacted(value))[1:-1]
            for form in (value, repr(value)[1:-1], quoted, quoted[:_LONGEST]):  # a long value is told cut off
                if len(form) >= _SHORTEST:
                    said = said.replace(form, written)
            said = said.replace(repr(value), repr(written)).replace(f" {value} now", f" {written} now")
        return said


class _Written(Mapping[str, str]):
    """Variables that are their own names: what a text looks like when nothing of the environment is put in."""

    def __getitem__(self, name: str) -> str:
        return f"${{{name}}}"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _problem(error: SightlineError, severity: Literal["error", "warning"] = "error", code: str = "") -> Problem:
    spot = error.location
    if isinstance(spot, Spot):
        line, column, where, message = spot.line, spot.column, spot.where, error.message
    else:
        line, column, where = 1, 1, ()
        message = str(error) if ":" in error.location else error.message  # plugins.py:3, or the manifest as a whole
    return Problem(
        line=line,
        column=column,
        loc=".".join(map(str, where)),
        message=message,
        cure=error.cure or "Correct what is named there.",
        code=code or error.code,
        severity=severity,
    )
