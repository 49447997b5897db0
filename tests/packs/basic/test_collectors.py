from datetime import timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from sightline.core.errors import ConfigError
from sightline.packs.basic.collectors import Count, Each, Latest
from sightline.testing import START, Tally, make_context, make_reading


def test_each_passes_everything_on() -> None:
    collector = Each()
    collector.open(make_context())
    samples = [make_reading(seq=number) for number in range(3)]

    assert list(collector.collect(samples)) == samples
    assert list(collector.flush()) == []
    assert collector.num_late == 0


def test_latest_passes_on_the_newest_of_each_source_and_counts_the_others() -> None:
    dropped = Tally()
    collector = Latest()
    collector.open(make_context(dropped=dropped))
    door = [make_reading(seq=number, source="door") for number in range(3)]
    yard = [make_reading(seq=number, source="yard") for number in range(2)]

    kept = list(collector.collect([door[0], yard[0], door[1], yard[1], door[2]]))

    assert kept == [yard[1], door[2]]
    assert dropped == {"superseded": 3}
    assert list(collector.collect([door[2]])) == [door[2]]
    assert list(collector.collect([])) == []
    assert dropped == {"superseded": 3}


def test_latest_goes_by_epoch_and_seq_not_by_arrival() -> None:
    collector = Latest()
    collector.open(make_context())
    old, new = make_reading(seq=900, epoch=1), make_reading(seq=0, epoch=2)

    assert list(collector.collect([new, old])) == [new]


def test_count_makes_windows_of_its_size_and_flush_gives_the_rest() -> None:
    collector = Count(size=3)
    collector.open(make_context())
    samples = [make_reading(seq=number) for number in range(8)]

    made = [window for sample in samples for window in collector.collect([sample])]
    rest = list(collector.flush())

    assert [window.payload.samples for window in made] == [tuple(samples[:3]), tuple(samples[3:6])]
    assert [window.payload.samples for window in rest] == [tuple(samples[6:])]
    assert [window.id for window in made + rest] == ["sensor/1/0", "sensor/1/1", "sensor/1/2"]
    assert list(collector.flush()) == []


def test_count_over_several_sources_stands_for_all_of_them() -> None:
    collector = Count(size=2, across_sources=True)
    collector.open(make_context(source="*"))
    door = make_reading(seq=4, source="door", epoch=1, metadata={"place": "door"})
    yard = make_reading(seq=3, source="yard", epoch=2, metadata={"place": "yard"})

    [window] = collector.collect([door, yard])

    assert window.source == "*"
    assert window.payload.samples == (yard, door)  # by time
    assert (window.epoch, window.metadata) == (1, {"place": "door"})  # those of the newest
    assert window.payload.start == START + timedelta(seconds=3)
    assert window.payload.end == START + timedelta(seconds=4, microseconds=1)
    assert window.time == window.payload.end


def test_count_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="size is 0"):
        Count(size=0)


def test_an_unknown_field_is_refused() -> None:
    assert TypeAdapter(Count).validate_python({"size": 3}).size == 3
    with pytest.raises(ValidationError, match="sizes"):
        TypeAdapter(Count).validate_python({"size": 3, "sizes": 3})
