"""What a caller of `/predict` asks for: the bytes to look at and the parameters, from each form of body.

Knows no cases and no pictures; whether the bytes are a picture is found out by whoever decodes them.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sightline.core.errors import InvalidInput, WrongMediaType
from sightline.serve.bodies import read_json
from sightline.serve.multipart import Part, read_multipart

PARAMETERS = ("case", "model", "version", "top_k", "threshold")
_FILE_FIELDS = ("file", "image")
_DATA_URL = re.compile(r"data:([\w.+/-]*)(?:;[\w.+=-]+)*;base64,", re.ASCII)
_WHOLE = re.compile(r"[+-]?[0-9]{1,9}", re.ASCII)
_NOT_PICTURES = ("application/x-www-form-urlencoded", "text/plain", "text/html", "application/xml")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request to look at one thing.

    Attributes:
        data: the contents of the file that was sent.
        media_type: of `data`; empty where nobody said.
        case: name of the case; None where none is named.
        model: name of the model, in place of a case.
        version: of the model.
        given: fields of predictors for this request.
    """

    data: bytes
    media_type: str
    case: str | None
    model: str | None
    version: str | None
    given: Mapping[str, Any]


def read_asked(body: bytes, content_type: str, query: Mapping[str, str]) -> Asked:
    """Return what is asked.

    Args:
        body: the body as it came.
        content_type: header of that name; empty for bytes of which nothing is said.
        query: parameters of the address.

    Raises:
        InvalidInput: a parameter is unknown, wrong or given twice; the body is not what its type says, or has no file.
        WrongMediaType: the body is of a type that is never taken.
    """
    for name in query:
        if name not in PARAMETERS:
            raise InvalidInput(f"Unknown parameter {name[:60]!r}.", cure=f"Known: {', '.join(PARAMETERS)}.")
    media_type = content_type.partition(";")[0].strip().lower()
    inside: dict[str, Any] = {}
    if media_type == "application/json":
        body, media_type, inside = _from_json(body)
    elif media_type == "multipart/form-data":
        body, media_type, inside = _from_parts(read_multipart(body, content_type))
    elif media_type in _NOT_PICTURES:
        raise WrongMediaType(
            f"A body of the type {media_type!r} is not taken.",
            cure="Send a picture as image/jpeg, image/png, image/webp or image/bmp, as multipart, or JSON with base64.",
        )
    for name in query:
        if name in inside:
            raise InvalidInput(f"Parameter {name} is given twice, in the address and in the body.")
    values = {**query, **inside}
    if "case" in values and "model" in values:
        raise InvalidInput("Both case and model are given.", cure="Leave one of them out.")
    if "version" in values and "model" not in values:
        raise InvalidInput("A version is given without a model.", cure="Name the model.")
    given: dict[str, Any] = {}
    if "top_k" in values:
        given["top_k"] = _whole("top_k", values["top_k"])
    if "threshold" in values:
        given["threshold"] = _number("threshold", values["threshold"])
    return Asked(
        data=body,
        media_type=media_type,
        case=_text("case", values.get("case")),
        model=_text("model", values.get("model")),
        version=_text("version", values.get("version")),
        given=given,
    )


def from_base64(text: Any, name: str) -> tuple[bytes, str]:
    """Return the bytes in base64 or in a data URL, and their media type, empty where it is not said.

    Raises:
        InvalidInput: it is neither.
    """
    if not isinstance(text, str):
        raise InvalidInput(f"{name} must be the base64 of a file, or a data URL.")
    media_type = ""
    if text.startswith("data:"):
        found = _DATA_URL.match(text[:200])
        if found is None:
            raise InvalidInput(f"{name} is no data URL in base64.", cure="Write data:image/jpeg;base64,...")
        media_type, text = found[1].lower(), text[found.end() :]
    try:
        return base64.b64decode(text, validate=True), media_type
    except (binascii.Error, ValueError):
        raise InvalidInput(f"{name} is no base64.", cure="Encode the bytes of the file, without line breaks.") from None


def _from_json(body: bytes) -> tuple[bytes, str, dict[str, Any]]:
    asked = read_json(body)
    if not isinstance(asked, dict):
        raise InvalidInput("The body must be a JSON object with `image`.")
    if "image" not in asked:
        raise InvalidInput("The body has no `image`.", cure='Send {"image": BASE64}.')
    inside = {name: value for name, value in asked.items() if name != "image"}
    _check_known(inside, ("image", *PARAMETERS))
    data, media_type = from_base64(asked["image"], "`image`")
    return data, media_type, {name: value for name, value in inside.items() if value is not None}


def _from_parts(parts: list[Part]) -> tuple[bytes, str, dict[str, Any]]:
    """Return the file called `file` or `image`, else the first file, and the other fields."""
    files = [part for part in parts if part.is_file or part.name in _FILE_FIELDS]
    if not files:
        raise InvalidInput("The form has no file.", cure="Send the picture in the field `file`.")
    named = [part for part in files if part.name in _FILE_FIELDS]
    if len(named or files) > 1:
        raise InvalidInput("The form has several files.", cure="Send one at a time.")
    inside: dict[str, Any] = {}
    for part in parts:
        if part not in files:
            if part.name in inside:
                raise InvalidInput(f"The form has the field {part.name[:60]!r} twice.")
            inside[part.name] = part.data.decode("utf-8", "replace")
    _check_known(inside, PARAMETERS)
    chosen = (named or files)[0]
    # What a browser guesses from the end of a file's name says little: the bytes tell.
    media_type = chosen.media_type if chosen.media_type.startswith("text/") else ""
    return chosen.data, media_type, inside


def _check_known(inside: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in inside:
        if name not in known:
            raise InvalidInput(f"The body has the unknown field {name[:60]!r}.", cure=f"Known: {', '.join(known)}.")


def _text(name: str, value: Any) -> str | None:
    if name == "version" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is not None and not (isinstance(value, str) and value):
        raise InvalidInput(f"Parameter {name} must be a name.")
    return value


def _whole(name: str, value: Any) -> int:
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise InvalidInput(f"Parameter {name} must be a whole number.", cure=f"Send {name}=3.")


def _number(name: str, value: Any) -> float:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number):
            return number
    raise InvalidInput(f"Parameter {name} must be a number.", cure=f"Send {name}=0.5.")
