import io
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event as Flag
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from structlog.testing import capture_logs

from sightline.core.errors import ConfigError, FileMissing, InvalidInput, InvalidMedia
from sightline.core.sample import Reading, Sample
from sightline.packs.sensors.sources import ReadingSource
from sightline.packs.sensors.tables import MAX_LINE_BYTES
from sightline.testing import START, FakeClock, Tally, make_context


def _read(path: Path, text: str | bytes, dropped: Tally | None = None, **fields: Any) -> list[Sample[Reading]]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    source = ReadingSource(url=str(path), **fields)
    source.open(make_context(source="boiler", dropped=dropped if dropped is not None else Tally()))
    return list(source.read())


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "table"


def _values(samples: list[Sample[Reading]]) -> list[dict[str, float]]:
    return [dict(sample.payload.values) for sample in samples]


def test_a_csv_file_gives_a_sample_a_row(table: Path) -> None:
    samples = _read(
        table,
        "time,temperature,pressure\n2026-11-20T12:00:00Z,20.5,1013\n2026-11-20T13:00:01.25+01:00,-3e2,.5\n",
    )

    assert _values(samples) == [{"temperature": 20.5, "pressure": 1013.0}, {"temperature": -300.0, "pressure": 0.5}]
    assert [sample.clocks.sender for sample in samples] == [START, START + timedelta(seconds=1.25)]
    assert [sample.id for sample in samples] == ["boiler/1/0", "boiler/1/1"]
    assert [sample.clocks.wall - START for sample in samples] == [timedelta(0), timedelta(seconds=1.25)]
    assert [sample.clocks.pts_s for sample in samples] == [None, None]


@pytest.mark.parametrize(
    "text",
    [
        "time;t\r\n2026-11-20 12:00:00;20,5\r\n",
        "\ufefftime\tt\n2026-11-20T12:00:00.000\t20.5",
        '"time", "t"\n"2026-11-20T12:00:00Z", "20.5"\n',
        "\n\ntime,t,\n1795176000,20.5,\n\n",
        '{"time": 1795176000.0, "t": 20.5}\n',
        '{"time": "2026-11-20T12:00:00Z", "t": 20.5, "status": "ok", "nested": {"x": 1}, "more": null}',
        '\ufeff{"time": "1795176000", "t": "20.5"}\r\n',
        "time,t,status,door\n2026-11-20T12:00:00Z,20.5,ok,nan\n",
    ],
)
def test_the_usual_ways_to_write_it_are_read(table: Path, text: str) -> None:
    [sample] = _read(table, text)

    assert dict(sample.payload.values) == {"t": 20.5}
    assert sample.time == START


def test_only_the_columns_that_are_named_are_read(table: Path) -> None:
    text = "stamp,a,b,c\n0,1,2,3\n1,,5,6\n2,,,9\n3,word,8,9\n"
    dropped = Tally()

    samples = _read(table, text, dropped, time_column="stamp", columns=("b", "a"))

    assert _values(samples) == [{"b": 2.0, "a": 1.0}, {"b": 5.0}]
    assert dropped == {"bad_row": 2}  # one without a number, one with a word
    assert samples[0].time == datetime(1970, 1, 1, tzinfo=UTC)


def test_bad_rows_are_counted_and_the_first_is_logged_with_its_line(table: Path) -> None:
    dropped = Tally()
    text = b"\n".join(
        [
            b"time,t",
            b"2026-11-20T12:00:00Z,1",
            b"2026-11-20T12:00:01Z",
            b"2026-11-20T12:00:02Z,3,4",
            b"yesterday,5",
            b"2026-11-20T12:00:04Z,warm",
            b'2026-11-20T12:00:05Z,"6',
            b"\xff\xfe,7",
            b"1e99,8",
            b"2026-11-20T12:00:08Z," + b"9" * (MAX_LINE_BYTES + 5),
            b"2026-11-20T12:00:09Z,\0",
            b"2026-11-20T12:00:10Z,1_0",
            b"2026-11-20T12:00:11Z,12",
        ]
    )
    with capture_logs() as logs:
        samples = _read(table, text, dropped)

    assert _values(samples) == [{"t": 1.0}, {"t": 12.0}]
    assert [sample.seq for sample in samples] == [0, 11]  # the gap is what was dropped
    assert dropped == {"bad_row": 10}
    assert [(log["event"], log["line"]) for log in logs] == [("bad row", 3)]
    assert "1 cells under 2 columns" in logs[0]["reason"]


def test_bad_rows_of_json_are_counted_too(table: Path) -> None:
    dropped = Tally()
    rows = ['{"time": 0, "t": 1}', '{"t": 1}', "{", "[1]", "7", '{"time": true, "t": 1}', '{"time": 9, "t": [1]}']

    samples = _read(table, "\n".join([*rows, '{"time": 10, "t": true}']), dropped)

    assert _values(samples) == [{"t": 1.0}, {"t": 1.0}]
    assert dropped == {"bad_row": 6}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    source = ReadingSource(url=str(tmp_path / "nowhere.csv"))
    source.open(make_context())
    with pytest.raises(FileMissing, match=r"nowhere\.csv"):
        list(source.read())


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    source = ReadingSource(url=str(tmp_path))
    source.open(make_context())
    with pytest.raises(InvalidMedia, match="cannot be read"):
        list(source.read())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is empty"),
        (b"\n\n  \n", "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "line 1: no UTF-8 text"),
        (b'[{"time": 0}]', "line 1: a JSON array"),
        (b"x" * (MAX_LINE_BYTES + 1), "line 1: a line of more than"),
        (b'time,"t\n', "line 1: no CSV"),
        (b"time,t\nnever,1\n", "holds no reading; line 2: Not a time"),
        (b'{"t": 1}\n' * 5, "holds no reading; line 1: no 'time'"),
        (b"time,t\n" + b"never,1\n" * 500, "holds no reading; line 2"),
    ],
)
def test_what_is_no_table_is_refused_with_the_line(table: Path, text: bytes, words: str) -> None:
    with pytest.raises(InvalidMedia) as caught:
        _read(table, text)
    assert words in caught.value.message
    assert caught.value.cure


@pytest.mark.parametrize(("fields", "column"), [({}, "time"), ({"time_column": "when", "columns": ("u",)}, "u")])
def test_a_column_that_is_missing_is_named_with_those_there_are(
    table: Path, fields: dict[str, Any], column: str
) -> None:
    with pytest.raises(InvalidInput, match=f"line 2: no column '{column}'. There are: when, t") as caught:
        _read(table, "\nwhen,t\n0,1\n", **fields)
    assert caught.value.cure


def test_a_header_alone_is_a_table_without_readings(table: Path) -> None:
    assert _read(table, "time,t\n") == []


def test_a_large_file_is_read_as_a_stream() -> None:
    class Endless(io.RawIOBase):
        num_given = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            row = b"0,1\n" if self.num_given else b"time,t\n"
            self.num_given += 1
            buffer[: len(row)] = row
            return len(row)

    endless = Endless()
    source = ReadingSource(url="unused")
    source.open(make_context())
    samples: Iterator[Sample[Reading]] = source.load(io.BufferedReader(endless), "body", "text/csv")

    assert [next(samples).seq for _ in range(100)] == list(range(100))
    assert endless.num_given < 10_000


def test_a_request_body_is_read_as_a_file_is() -> None:
    source = ReadingSource(url="unused")
    source.open(make_context(source="request", clock=FakeClock()))

    [sample] = source.load(io.BytesIO(b'{"time": 0, "t": 1}'), "body", "application/x-ndjson")

    assert (sample.source, dict(sample.payload.values)) == ("request", {"t": 1.0})
    with pytest.raises(InvalidMedia, match="body is empty"):
        list(source.load(io.BytesIO(b""), "body", "text/csv"))


def test_stopping_ends_the_source(table: Path) -> None:
    table.write_text("time,t\n" + "0,1\n" * 1000)
    stopping = Flag()
    source = ReadingSource(url=table.as_uri())
    source.open(make_context(stopping=stopping))
    samples = source.read()
    next(samples)
    stopping.set()

    assert list(samples) == []


def test_real_time_gives_the_rows_at_the_pace_of_their_times(table: Path) -> None:
    table.write_text("time,t\n100,1\n101,2\n100.5,3\n101.5,4\n")
    source = ReadingSource(url=str(table), realtime=True)
    source.open(make_context(clock=lambda: datetime.now(UTC)))
    begin = time.monotonic()

    at = [round(time.monotonic() - begin, 3) for _ in source.read()]

    assert at[0] < 0.9
    assert 0.99 < at[1] <= at[2] < at[3]
    assert 1.49 < at[3] < 10


def test_real_time_stops_while_it_waits(table: Path) -> None:
    table.write_text("time,t\n0,1\n3600,2\n")
    stopping = Flag()
    source = ReadingSource(url=str(table), realtime=True)
    source.open(make_context(stopping=stopping))
    samples = source.read()
    next(samples)
    stopping.set()

    assert list(samples) == []


def test_only_files_are_read() -> None:
    with pytest.raises(ConfigError, match=r"https://\*\*\*@host/x") as caught:
        ReadingSource(url="https://me:secret@host/x").open(make_context())
    assert "secret" not in caught.value.message


def test_fields_are_validated_and_unknown_ones_refused() -> None:
    assert TypeAdapter(ReadingSource).validate_python({"url": "a.csv", "columns": ["t"]}).columns == ("t",)
    with pytest.raises(ValidationError, match="colums"):
        TypeAdapter(ReadingSource).validate_python({"url": "a.csv", "colums": ["t"]})


@given(st.binary(max_size=300))
def test_no_bytes_crash_it(data: bytes) -> None:
    source = ReadingSource(url="unused")
    source.open(make_context())
    for begin in (b"", b"time,t\n0,1\n", b'{"time": 0, "t": 1}\n'):
        try:
            samples = list(source.load(io.BytesIO(begin + data), "body", ""))
        except InvalidInput:
            continue
        assert all(json.dumps(dict(sample.payload.values), allow_nan=False) for sample in samples)
