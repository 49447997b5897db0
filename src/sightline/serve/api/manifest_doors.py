"""`/api/v1/cases/{case}/manifest`, `/api/v1/cases/check`: manifests as text, read, checked while one types, written."""

from __future__ import annotations

from dataclasses import asdict
from threading import Lock, Semaphore
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool

from sightline.build.folders import CasePlace
from sightline.build.manifest_file import (
    ManifestFile,
    checked_case_name,
    create_case,
    own_cases,
    read_manifest,
    write_manifest,
)
from sightline.build.manifest_text import MOST_BYTES, ManifestChecker, Problem
from sightline.core.access import Caller
from sightline.core.codec import to_json
from sightline.core.errors import (
    CaseNotFound,
    ConfigError,
    Forbidden,
    InvalidInput,
    Overloaded,
    SightlineError,
    Stale,
    TooLarge,
    Unseen,
    WrongMediaType,
)
from sightline.serve.api.asked import PREFIX, Json, Route, answer, exchange_of
from sightline.serve.api.case_doors import CaseName
from sightline.serve.api.case_shapes import CaseCheck, CaseChecked, CaseSaved, CaseWish
from sightline.serve.api.manifest_rights import not_allowed
from sightline.serve.errors import told_problem
from sightline.serve.platform import Platform
from sightline.serve.problems import PROBLEM, problem

_TYPES = frozenset({"", "text/yaml", "application/yaml", "application/x-yaml", "text/x-yaml", "text/plain"})
_YAML = "text/yaml; charset=utf-8"
_TEXT = {"schema": {"type": "string"}}
_AT_ONCE = 2  # texts that are checked at once; cameras need the processor too
_WAIT_S = 5.0
_HEADERS = {
    "ETag": {"description": "What `If-Match` must say to change it.", "schema": {"type": "string"}},
    "X-Manifest-Writable": {
        "description": "`yes`; `copy`: PUT keeps a copy in the user's own cases; `no`.",
        "schema": {"type": "string", "enum": ["yes", "copy", "no"]},
    },
}
_UNSEEN: dict[int | str, dict[str, Any]] = {
    428: {"description": "It did not say which text it has seen.", "content": {PROBLEM.decode(): {}}}
}
IfMatch = Annotated[
    str | None,
    Header(max_length=256, description="ETag of the text that you have seen; 412 where it is another one by now."),
]


class ManifestDoors:
    """Answers `/cases/{case}/manifest`, `/cases/check` and `POST /cases`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._checker = ManifestChecker(platform.context)
        self._checking = Semaphore(_AT_ONCE)
        self._writing = Lock()  # between the look at what is there and the change of it
        self.router = router = APIRouter(prefix=PREFIX, tags=["cases"], route_class=Route)
        one = "/cases/{case}/manifest"
        router.add_api_route(
            "/cases/check", self.check, methods=["POST"], response_model=CaseChecked, name="check_manifest"
        )
        router.add_api_route(
            one,
            self.get,
            name="get_manifest",
            response_class=Response,
            responses={
                200: {"content": {_YAML: {"schema": {}}}, "headers": _HEADERS, "description": "As it is in the file."}
            },
        )
        router.add_api_route(
            one,
            self.put,
            methods=["PUT"],
            response_model=CaseSaved,
            name="put_manifest",
            responses={200: {"headers": _HEADERS}, **_UNSEEN},
            openapi_extra={"requestBody": {"required": True, "content": {"text/yaml": _TEXT}}},
        )
        router.add_api_route(
            "/cases",
            self.create,
            methods=["POST"],
            status_code=201,
            response_model=CaseSaved,
            name="create_case",
            responses={201: {"headers": {**_HEADERS, "Location": {"schema": {"type": "string"}}}}},
        )

    def get(self, case: CaseName) -> Response:
        """Give the manifest of a case as it is in its file, variables not put in."""
        file = read_manifest(self._platform.cases.place(case))
        return Response(file.data, media_type=_YAML, headers=_headers(file))

    async def put(self, case: CaseName, request: Request, if_match: IfMatch = None) -> Response:
        """Write the manifest of a case, when it has no error; requests and runs have it from then on."""
        exchange = exchange_of(request)
        if exchange.media_type not in _TYPES:
            raise WrongMediaType(
                f"A body of the type {exchange.media_type[:60]!r} is not taken.", cure="Send text/yaml."
            )
        body = await exchange.body()
        return await run_in_threadpool(self._put, case, body, if_match, request)

    def create(self, wish: CaseWish, request: Request) -> Response:
        """Make the folder of a new case with this manifest, when it has no error."""
        loaded = self._platform.context.loaded
        name = checked_case_name(wish.name)
        folder = own_cases(loaded) / name
        text = _checked_text(wish.manifest.encode())
        place = CasePlace(name=name, origin="new", folder=folder, manifest=folder / loaded.settings.manifest_name)
        problems = self._problems(text, place, "", exchange_of(request).caller)
        if _errors(problems):
            return _refused(problems, request)
        with self._writing:
            place = create_case(name, text.encode(), loaded)
        return self._saved(place, problems, 201, Location=f"{PREFIX}/cases/{name}")

    def check(self, wish: CaseCheck, request: Request) -> Json:
        """Tell all that is wrong with the text of a manifest, with its place; nothing is saved, run or opened."""
        text = _checked_text(wish.manifest.encode())
        place, before = self._place(wish.case), ""
        if place.manifest is not None and place.origin != "new":
            before = _decoded(read_manifest(place).data)
        problems = self._problems(text, place, before, exchange_of(request).caller)
        return Json({"ok": not _errors(problems), "problems": [each.as_json() for each in problems]})

    def _put(self, case: str, body: bytes, if_match: str | None, request: Request) -> Response:
        platform = self._platform
        place = platform.cases.place(case)
        file = read_manifest(place)
        _check_seen(if_match, file)
        text = _checked_text(body)
        problems = self._problems(text, place, _decoded(file.data), exchange_of(request).caller)
        if _errors(problems):
            return _refused(problems, request)
        with self._writing:
            _check_seen(if_match, read_manifest(platform.cases.place(case)))
            place = write_manifest(place, body, platform.context.loaded)
        return self._saved(place, problems, 200)

    def _saved(self, place: CasePlace, problems: list[Problem], status: int, **headers: str) -> Response:
        """Have requests and runs take what was written, and tell what that did."""
        platform = self._platform
        broken: list[dict[str, Any]] = []
        try:
            platform.cases.renew(place)
        except SightlineError as error:  # of a blueprint, which is run only now
            broken = [told_problem(error)]
        runs = platform.runs.follow(place.name)
        platform.runs.tend()
        file = read_manifest(place)
        return answer(
            {
                "case": place.name,
                "folder": str(place.folder),
                "origin": place.origin,
                "etag": _headers(file)["ETag"],
                "warnings": [each.as_json() for each in problems],
                "problems": broken,
                "runs": [asdict(each) for each in runs],
            },
            status,
            **_headers(file),
            **headers,
        )

    def _place(self, case: str | None) -> CasePlace:
        """Return the case that a text is for, which may be none yet."""
        try:
            if case is not None:
                return self._platform.cases.place(case)
        except CaseNotFound:
            pass
        loaded = self._platform.context.loaded
        folder = own_cases(loaded) / checked_case_name(case or "case")
        return CasePlace(name=case or "", origin="new", folder=folder)

    def _problems(self, text: str, place: CasePlace, before: str, caller: Caller) -> list[Problem]:
        """Return what is wrong with a text; what its writer may not write comes first, and is not looked at further."""
        if not self._checking.acquire(timeout=_WAIT_S):
            raise Overloaded("Other manifests are being checked.", cure="Try again in a moment.")
        try:
            return not_allowed(text, before, caller) or self._checker.check(text, place)
        finally:
            self._checking.release()


def _headers(file: ManifestFile) -> dict[str, str]:
    return {"ETag": f'"{file.digest}"', "X-Manifest-Writable": file.writable, "Cache-Control": "no-store"}


def _check_seen(if_match: str | None, file: ManifestFile) -> None:
    """Compare `If-Match` with what is in the file.

    Raises:
        Unseen: there is no such header.
        Stale: somebody changed the file meanwhile.
    """
    if if_match is None:
        raise Unseen(
            "The request does not say which text it changes.", cure="Send If-Match with the ETag of the text you read."
        )
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in if_match.split(",")}
    if "*" not in tags and file.digest not in tags:
        raise Stale(
            "Somebody else saved this manifest meanwhile; yours was not written.",
            cure="Read it again, compare, then save with the new ETag.",
        )


def _checked_text(data: bytes) -> str:
    """Return the text of a manifest.

    Raises:
        TooLarge: it is no text that a person writes.
        InvalidInput: it is no UTF-8.
    """
    if len(data) > MOST_BYTES:
        raise TooLarge(f"The manifest is larger than {MOST_BYTES >> 10} KiB.", cure="Keep data in files beside it.")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidInput("The manifest is no UTF-8 text.", cure="Send it as UTF-8.") from None


def _decoded(data: bytes) -> str:
    return data.decode(errors="replace")


def _errors(problems: list[Problem]) -> bool:
    return any(each.severity == "error" for each in problems)


def _refused(problems: list[Problem], request: Request) -> Response:
    """Answer a manifest with errors, all of which are told; nothing was written."""
    exchange = exchange_of(request)
    first = next(each for each in problems if each.severity == "error")
    kind = Forbidden if first.code == Forbidden.code else ConfigError
    error = kind(first.message, cure=first.cure, location=f"line {first.line}")
    exchange.code = error.code
    errors = [each.as_json() for each in problems]
    document = problem(error, instance=exchange.path, request_id=exchange.id, errors=errors)
    return Response(to_json(document), document["status"], media_type=PROBLEM.decode())
