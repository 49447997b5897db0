"""What a manifest may not newly have this machine do when it comes from somebody who is no admin.

A manifest names classes that are imported, files of this machine, and variables of its environment. Whoever may manage
cases may keep what stands there already; what is new of these, admins alone may write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sightline.build.documents import Document, Where, parse_document
from sightline.build.manifest_text import Problem
from sightline.core.access import Caller, Scope
from sightline.core.errors import Forbidden, SightlineError
from sightline.serve.api.entries import PLACE
from sightline.serve.places import check_place

_OUTSIDE = re.compile(r"[/~\\]|[A-Za-z]:[/\\]|file:|.*(^|[/\\])\.\.([/\\]|$)")
_OWN_FOLDER = re.compile(r"\$\{CASE_DIR\}/(?!.*(^|/)\.\.(/|$))[^$]*")
_VARIABLE = re.compile(r"\$\{(?!CASE_DIR\})")
_WORDS = frozenset({"title", "metadata"})  # what only people read


def not_allowed(text: str, before: str, caller: Caller) -> list[Problem]:
    """Return what in a manifest only an admin may write.

    Args:
        text: the manifest.
        before: the one that it replaces; empty for none.
        caller: who wrote it.
    """
    if caller.may(Scope.ADMIN):
        return []
    try:
        old = {_mark(where, value) for where, value in _strings(_read(before).data)} if before else set()
        document = _read(text)
    except SightlineError:  # it is no YAML: told as such
        return []
    found = []
    for where, value in _strings(document.data):
        why = None if _mark(where, value) in old else _power(where, value, caller)
        if why:
            line, column = document.lines.get(where, 1), document.columns.get(where, 1)
            found.append(
                Problem(
                    line=line,
                    column=column,
                    loc=".".join(map(str, where)),
                    message=why,
                    cure="Ask for a key with the scope admin, or leave what stood there.",
                    code=Forbidden.code,
                )
            )
    return found


def _power(where: Where, value: str, caller: Caller) -> str | None:
    """Return why a text may be written by admins alone; None where it may be by others."""
    if where[-1] == "use" and ":" in value:
        return "Admins alone may name a class by its import path."
    if _VARIABLE.search(value):
        return "Admins alone may put in a variable of the environment."
    if where[0] in _WORDS or _OWN_FOLDER.fullmatch(value):
        return None
    if where[0] in ("source", "sources") and PLACE.fullmatch(str(where[-1])):
        try:
            check_place(value, caller)
        except Forbidden as error:
            return error.message
        return None
    return "Admins alone may name files outside the case." if _OUTSIDE.match(value) else None


def _mark(where: Where, value: str) -> tuple[Any, str]:
    return where[-1] if isinstance(where[-1], str) else "", value


def _strings(data: Any, where: Where = ()) -> Iterator[tuple[Where, str]]:
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from _strings(value, (*where, key))
    elif isinstance(data, list):
        for number, value in enumerate(data):
            yield from _strings(value, (*where, number))
    elif isinstance(data, str):
        yield where, data
    elif isinstance(data, int) and where and PLACE.fullmatch(str(where[-1])):
        yield where, str(data)


def _read(text: str) -> Document:
    return parse_document(text, name="", expand=lambda written, _: written)
