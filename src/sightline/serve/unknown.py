"""What is told of a name on the command line that is nothing that could be served."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from sightline.build.context import CaseBuildContext
from sightline.build.folders import list_cases
from sightline.core.errors import CaseNotFound, InvalidModel, SightlineError


def unknown(context: CaseBuildContext, name: str, error: CaseNotFound) -> SightlineError:
    """Return what is told of something that was to be served and is neither a case nor a model."""
    path = Path(name).expanduser()
    if path.is_file():
        return InvalidModel(f"{name} is no ONNX file.", cure="Give a file NAME.onnx, a case, or the name of a model.")
    if path.is_dir():
        return error
    known = [*(place.name for place in list_cases(context.loaded)), *context.registry.names()]
    near = get_close_matches(name, known, n=1)
    return CaseNotFound(
        f"No case and no model is called {name!r}.",
        cure=f"Did you mean {near[0]!r}?" if near else "See sightline list and sightline models list.",
    )
