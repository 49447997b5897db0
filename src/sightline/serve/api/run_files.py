"""`/api/v1/runs/{run}/files`: what a job made, by the words of its case."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from sightline.core.errors import NotFound
from sightline.core.run import Run, RunKind
from sightline.serve.api.asked import PREFIX, After, Limit, Name, Route, page_of
from sightline.serve.api.job_shapes import FileShape
from sightline.serve.api.object_doors import sent_object
from sightline.serve.api.run_doors import found_run
from sightline.serve.api.sending import IfNoneMatch, IfRange, Range, told_file
from sightline.serve.api.shapes import Page
from sightline.serve.platform import Platform

FileWord = Annotated[str, Path(min_length=1, max_length=256, examples=["mask"])]


class RunFileDoors:
    """Answers `/runs/{run}/files`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.router = router = APIRouter(prefix=PREFIX, tags=["runs"], route_class=Route)
        router.add_api_route("/runs/{run}/files", self.list_all, response_model=Page[FileShape], name="list_run_files")
        router.add_api_route(
            "/runs/{run}/files/{word:path}",
            self.get,
            response_class=Response,
            responses=told_file("*/*", "The bytes, with the media type of the file."),
            name="get_run_file",
        )

    def list_all(self, run: Name, limit: Limit = 50, after: After = None) -> Any:
        """List what a job made; empty until it has ended well."""
        found, _ = found_run(self._platform, run)
        files = files_of(found)
        shown = page_of(list(files), limit, after, lambda word: word)
        return {**shown, "items": [{"word": word, **files[word]} for word in shown["items"]]}

    def get(
        self,
        run: Name,
        word: FileWord,
        request: Request,
        *,
        range: Range = None,
        if_range: IfRange = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """Send a file that a job made, or a part of it."""
        found, _ = found_run(self._platform, run)
        files = files_of(found)
        file = files.get(word)
        if file is None:
            known = ", ".join(sorted(files)) or f"nothing yet, the run is {found.state.value}"
            raise NotFound(f"The run {run} has no file {word[:80]!r}. It has: {known}.", cure="Take one of those.")
        asked = range, if_range, if_none_match
        return sent_object(request, self._platform.context.artifacts, file["key"], file["media_type"], asked)


def files_of(run: Run) -> dict[str, dict[str, Any]]:
    """Return the files of a job by their words: `key num_bytes media_type`."""
    files = run.status.get("files") if run.kind is RunKind.JOB else None
    return {word: dict(file) for word, file in (files or {}).items()}
