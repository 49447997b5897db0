"""`/openapi.json`, `/docs` with Swagger UI, `/docs/errors`; nothing on these pages comes from elsewhere."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from functools import cache
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fastapi import APIRouter, Request, Response

import sightline
from sightline.core.errors import NotFound, SightlineError, error_types
from sightline.serve.api.asked import Json, Route
from sightline.serve.errors import remote_cure
from sightline.serve.problems import status_of

_FOLDER = Path(sightline.__file__).parent / "web" / "swagger"
_ASSETS: Mapping[str, str] = MappingProxyType(
    {
        "swagger-ui.css": "text/css; charset=utf-8",
        "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
        "start.js": "text/javascript; charset=utf-8",
        "errors.css": "text/css; charset=utf-8",
        "favicon-32x32.png": "image/png",
    }
)
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/{style}">
</head>
<body>
{body}
</body>
</html>
"""
_SWAGGER = """\
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>"""


class Pages:
    """Answers `/docs` and `/openapi.json`.

    Args:
        document: makes the OpenAPI document.
    """

    def __init__(self, document: Callable[[], dict[str, Any]]) -> None:
        self._document = document
        self.router = router = APIRouter(tags=["pages"], route_class=Route)
        html: dict[int | str, dict[str, Any]] = {
            200: {"content": {"text/html; charset=utf-8": {"schema": {"type": "string"}}}, "description": "The page."}
        }
        router.add_api_route("/openapi.json", self.openapi, name="openapi", response_model=dict[str, Any])
        router.add_api_route("/docs", self.docs, name="docs", response_class=Response, responses=html)
        router.add_api_route("/docs/errors", self.errors, name="errors", response_class=Response, responses=html)
        router.add_api_route("/docs/{file}", self.asset, name="docs_file", include_in_schema=False)

    def openapi(self) -> Json:
        """Give the OpenAPI document of all routes."""
        return Json(self._document())

    def docs(self) -> Response:
        """Show the document as a page on which requests can be tried."""
        return _html(_PAGE.format(title="Sightline: HTTP", style="swagger-ui.css", body=_SWAGGER))

    def errors(self) -> Response:
        """Explain every code of a problem."""
        return _html(_PAGE.format(title="Sightline: errors", style="errors.css", body=_error_list()))

    def asset(self, file: str, request: Request) -> Response:
        """Give a file of the pages."""
        media_type = _ASSETS.get(file)
        if media_type is None:
            raise NotFound(f"There is no page /docs/{file[:80]}.", cure="See /docs.")
        packed = _FOLDER / f"{file}.gz"
        headers = {**_HEADERS, "Cache-Control": "public, max-age=3600", "Vary": "Accept-Encoding"}
        if not packed.is_file():
            return Response((_FOLDER / file).read_bytes(), media_type=media_type, headers=headers)
        data = packed.read_bytes()
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(data, media_type=media_type, headers={**headers, "Content-Encoding": "gzip"})
        return Response(gzip.decompress(data), media_type=media_type, headers=headers)


def _html(text: str) -> Response:
    return Response(text, media_type="text/html; charset=utf-8", headers={**_HEADERS, "Cache-Control": "no-cache"})


@cache
def _error_list() -> str:
    """Return the explanations, one section a code, with the anchor that problems name as their type."""
    parts = ["<h1>Errors</h1>", "<p>Every problem has a <code>code</code> that is safe to match on.</p>"]
    for kind in error_types():
        error = kind("")
        words = kind.code.replace("_", " ")
        above = next((base.code for base in kind.__mro__[1:] if issubclass(base, SightlineError)), "")
        kin = f'; a kind of <a href="#{above.replace("_", "-")}">{escape(above)}</a>' if above else ""
        meaning = (kind.__doc__ or "").partition("\n")[0]
        parts.append(
            f'<section id="{kind.code.replace("_", "-")}"><h2>{escape(words.capitalize())}</h2>'
            f"<p><code>{escape(kind.code)}</code>, HTTP {status_of(error)}{kin}</p>"
            f"<p>{escape(meaning)}</p><p>{escape(remote_cure(error))}</p></section>"
        )
    return "\n".join(parts)
