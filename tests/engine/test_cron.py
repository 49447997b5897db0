from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from sightline.core.errors import InvalidInput
from sightline.engine.cron import Cron


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "after", "wanted"),
    [
        ("* * * * *", "2026-11-20 12:00:00", "2026-11-20 12:01"),
        ("* * * * *", "2026-11-20 12:00:59.999", "2026-11-20 12:01"),
        ("30 3 * * *", "2026-11-20 03:30", "2026-11-21 03:30"),
        ("30 3 * * *", "2026-11-20 03:29:59", "2026-11-20 03:30"),
        ("*/20 * * * *", "2026-11-20 12:41", "2026-11-20 13:00"),
        ("5-20/5 * * * *", "2026-11-20 12:20", "2026-11-20 13:05"),
        ("50/5 * * * *", "2026-11-20 12:20", "2026-11-20 12:50"),
        ("0 9-17 * * mon-fri", "2026-11-20 17:00", "2026-11-23 09:00"),  # a Friday, then a Monday
        ("0 0 * * 7", "2026-11-20 12:00", "2026-11-22 00:00"),
        ("0 0 * * 0", "2026-11-20 12:00", "2026-11-22 00:00"),
        ("0 0 31 * *", "2026-11-20 12:00", "2026-12-31 00:00"),
        ("0 0 29 2 *", "2026-11-20 12:00", "2028-02-29 00:00"),
        ("0 0 1 jan *", "2026-11-20 12:00", "2027-01-01 00:00"),
        ("0 0 13 * fri", "2026-11-20 12:00", "2026-11-27 00:00"),  # either day is enough
        ("0 0 */10 * fri", "2026-11-20 12:00", "2026-12-11 00:00"),  # a step limits no day in this sense: both
        ("59 23 31 12 *", "2026-12-31 23:59", "2027-12-31 23:59"),
        ("@hourly", "2026-11-20 23:59", "2026-11-21 00:00"),
        ("0,30 8,20 * * *", "2026-11-20 08:10", "2026-11-20 08:30"),
    ],
)
def test_the_next_time_of_a_line(line: str, after: str, wanted: str) -> None:
    assert Cron(line).after(at(after)) == at(wanted)


def test_times_follow_one_another_as_the_fields_say() -> None:
    times = [at("2026-11-20 00:00")]
    for _ in range(200):
        times.append(Cron("15,45 */6 * * 1-5").after(times[-1]))
    assert all(one < other for one, other in pairwise(times))
    assert {(time.hour % 6, time.minute % 30, time.isoweekday() <= 5) for time in times[1:]} == {(0, 15, True)}
    assert max(other - one for one, other in pairwise(times)) < timedelta(days=3)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "9-5 * * * *",
        "a * * * *",
        "1- * * * *",
        "-1 * * * *",
        "* * * fri *",
        "@sometimes",
    ],
)
def test_what_is_no_cron_line_is_told(line: str) -> None:
    with pytest.raises(InvalidInput, match="cron line"):
        Cron(line)


def test_a_day_that_never_comes_is_told() -> None:
    with pytest.raises(InvalidInput, match="never"):
        Cron("0 0 30 2 *").after(at("2026-11-20 12:00"))
