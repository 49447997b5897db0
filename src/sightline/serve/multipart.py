"""The parts of a `multipart/form-data` body that is in memory already."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.core.errors import InvalidInput

_MOST_PARTS = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One field of a form.

    Attributes:
        media_type: as the sender says, lower case; empty where it does not.
        is_file: True when it has the name of a file.
    """

    name: str
    data: bytes
    media_type: str
    is_file: bool


def read_multipart(body: bytes, content_type: str) -> list[Part]:
    """Return the parts in order.

    Raises:
        InvalidInput: there is no boundary, too many parts, or the body is damaged or cut off.
    """
    # Here, for most pictures come without a form around them.
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise InvalidInput("The form has no boundary.", cure="Let your library set the header Content-Type.")
    reader = _Reader()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": reader.begin,
                "on_header_field": reader.field,
                "on_header_value": reader.value,
                "on_header_end": reader.header,
                "on_part_data": reader.data,
                "on_part_end": reader.end,
                "on_end": reader.finish,
            },
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise InvalidInput(f"The form is damaged: {str(error)[:200]}") from None
    if not reader.complete:
        raise InvalidInput("The form is cut off.", cure="Send it again.")
    return [_part(headers, b"".join(pieces)) for headers, pieces in reader.parts]


class _Reader:
    """Takes what the parser finds."""

    def __init__(self) -> None:
        self.parts: list[tuple[dict[str, bytes], list[bytes]]] = []
        self.complete = False
        self._name = self._value = b""

    def begin(self) -> None:
        if len(self.parts) >= _MOST_PARTS:
            raise InvalidInput(f"The form has more than {_MOST_PARTS} parts.")
        self.parts.append(({}, []))

    def field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header(self) -> None:
        self.parts[-1][0][self._name.decode("latin-1").lower()] = self._value
        self._name = self._value = b""

    def data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1][1].append(data[start:end])

    def end(self) -> None:
        return None

    def finish(self) -> None:
        self.complete = True


def _part(headers: dict[str, bytes], data: bytes) -> Part:
    from python_multipart.multipart import parse_options_header

    options = parse_options_header(headers.get("content-disposition", b""))[1]
    media_type = headers.get("content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    return Part(
        name=options.get(b"name", b"").decode("utf-8", "replace"),
        data=data,
        media_type=media_type,
        is_file=b"filename" in options,
    )
