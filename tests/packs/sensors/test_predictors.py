import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sightline.core.codec import encode_prediction, encode_time
from sightline.core.errors import ConfigError, InvalidInput
from sightline.core.plugins import Predictor
from sightline.core.prediction import Findings, Prediction, Rejected, Scalar
from sightline.core.sample import Sample, Window
from sightline.packs.sensors.predictors import Z_MAX, RangeCheck, ThresholdAlert, ZScore
from sightline.testing import START, make_context, make_frame, make_reading


def _predict(predictor: Predictor, samples: Sequence[Sample[Any]]) -> list[Prediction]:
    predictor.open(make_context())
    return [prediction for sample in samples for prediction in predictor.predict([sample])]


def _readings(*values: float) -> list[Sample[Any]]:
    return [make_reading({"t": value}, seq=number) for number, value in enumerate(values)]


def _window(*values: float) -> Sample[Any]:
    samples = tuple(_readings(*values))
    return make_reading(0).with_payload(Window(samples=samples, start=START, end=START + timedelta(seconds=60)))


def _scores(predictions: Sequence[Prediction]) -> list[float]:
    return [prediction.value for prediction in predictions if isinstance(prediction, Scalar)]


def _told(predictions: Sequence[Prediction]) -> list[tuple[int, str, str]]:
    """Return at which sample which alert started or ended."""
    found = []
    for number, prediction in enumerate(predictions):
        assert isinstance(prediction, Findings)
        for item in prediction:
            if item.event:
                assert item.event == "threshold.alert"
                assert item.data is not None
                assert item.data["value"] == item.value
                found.append((number, item.data["direction"], item.data["state"]))
    return found


class TestRangeCheck:
    def test_a_reading_within_its_ranges_passes(self) -> None:
        check = RangeCheck(ranges={"t": (-10, 40), "p": (900, 1100)})
        samples = [make_reading({"t": -10, "p": 1100, "other": 1e9}), make_reading({"t": 40, "p": 900})]

        for prediction in _predict(check, samples):
            assert isinstance(prediction, Findings)
            assert prediction.items == ()

    @pytest.mark.parametrize(
        ("values", "kind", "reason"),
        [
            ({"t": 40.5}, "out_of_range", "t is 40.5, allowed are -10 to 40"),
            ({"t": -273.15}, "out_of_range", "t is -273.15, allowed are -10 to 40"),
            ({"t": math.nan}, "out_of_range", "t is nan, allowed are -10 to 40"),
            ({"t": math.inf}, "out_of_range", "t is inf, allowed are -10 to 40"),
            ({"p": 1000}, "missing", "no value for t"),
        ],
    )
    def test_another_is_rejected_with_the_reason(self, values: dict[str, float], kind: str, reason: str) -> None:
        [rejected] = _predict(RangeCheck(ranges={"t": (-10, 40)}), [make_reading(values)])

        assert isinstance(rejected, Rejected)
        assert (rejected.kind, rejected.reason) == (kind, reason)

    def test_every_reading_of_a_window_is_checked(self) -> None:
        [good, bad] = _predict(RangeCheck(ranges={"t": (0, 10)}), [_window(1, 2), _window(1, 11, 3)])

        assert isinstance(good, Findings)
        assert isinstance(bad, Rejected)

    def test_what_holds_no_reading_is_named(self) -> None:
        with pytest.raises(InvalidInput, match="camera/1/0 is a Frame"):
            _predict(RangeCheck(ranges={"t": (0, 1)}), [make_frame()])

    def test_a_range_upside_down_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="'t' is 5 to 1"):
            RangeCheck(ranges={"t": (5, 1)})

    def test_it_is_built_from_yaml(self) -> None:
        check = TypeAdapter(RangeCheck).validate_python({"ranges": {"t": [0, 10]}})
        assert check.ranges == {"t": (0.0, 10.0)}
        with pytest.raises(ValidationError, match="range"):
            TypeAdapter(RangeCheck).validate_python({"range": {"t": [0, 10]}})


class TestZScore:
    def test_a_value_is_compared_to_those_before_it(self) -> None:
        values = [1.0, 2.0, 3.0, 4.0, 10.0]

        scores = _scores(_predict(ZScore(channel="t", window=4, minimum=3), _readings(*values)))

        assert scores[:3] == [0.0, 0.0, 0.0]  # too few before it
        assert scores[3] == pytest.approx((4 - 2) / 1.0)
        assert scores[4] == pytest.approx((10 - 2.5) / np.std([1, 2, 3, 4], ddof=1))

    def test_only_the_last_of_the_window_count(self) -> None:
        values = [1000.0, -1000.0, 5.0, 6.0, 7.0, 8.0]

        scores = _scores(_predict(ZScore(channel="t", window=3, minimum=3), _readings(*values)))

        assert scores[-1] == pytest.approx((8 - 6) / 1.0)

    def test_large_numbers_lose_no_digits(self) -> None:
        small = [0.0, 1.0, 2.0, 1.0, 0.0, 3.0]
        for offset in (0.0, 1e9, -1e12):
            scores = _scores(
                _predict(ZScore(channel="t", window=5, minimum=5), _readings(*(offset + value for value in small)))
            )
            assert scores[-1] == pytest.approx((3 - 0.8) / np.std(small[:5], ddof=1), rel=1e-9)

    def test_a_spike_long_gone_leaves_no_trace(self) -> None:
        noise = np.random.default_rng(0).normal(size=300)
        values = [*noise[:150], 1e15, *noise[150:]]

        scores = _scores(_predict(ZScore(channel="t", window=50, minimum=10), _readings(*values)))

        earlier = noise[-51:-1]
        assert scores[-1] == pytest.approx((noise[-1] - earlier.mean()) / earlier.std(ddof=1), rel=1e-9)

    def test_a_change_after_constant_values_is_as_large_as_it_gets(self) -> None:
        scores = _scores(_predict(ZScore(channel="t", window=3, minimum=2), _readings(5, 5, 5, 5.1, 4, 5)))

        assert scores[:4] == [0.0, 0.0, 0.0, Z_MAX]
        assert all(abs(score) < Z_MAX for score in scores[4:])
        assert _scores(_predict(ZScore(channel="t", window=3, minimum=2), _readings(5, 5, 4)))[-1] == -Z_MAX

    def test_of_a_window_the_mean_counts(self) -> None:
        windows = [_window(0, 2), _window(1, 3), _window(3, 3), _window(math.nan, 10)]

        scores = _scores(_predict(ZScore(channel="t", window=3, minimum=3), windows))

        assert scores[-1] == pytest.approx((10 - 2) / 1.0)

    def test_a_sample_without_the_channel_is_passed_over(self) -> None:
        samples = [*_readings(1, 2, 3), make_reading({"p": 1}), make_reading({"t": math.nan}), *_readings(4)]

        predictions = _predict(ZScore(channel="t", window=3, minimum=3), samples)

        assert [type(each).__name__ for each in predictions[3:]] == ["Findings", "Findings", "Scalar"]
        last = predictions[-1]
        assert isinstance(last, Scalar)
        assert last.name == "t_z"
        assert last.value == pytest.approx(2.0)

    @pytest.mark.parametrize(("window", "minimum"), [(10, 1), (3, 4), (0, 0), (10_000_000, 2)])
    def test_numbers_that_make_no_sense_are_refused(self, window: int, minimum: int) -> None:
        with pytest.raises(ConfigError, match="zscore"):
            ZScore(channel="t", window=window, minimum=minimum)

    @given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=30))
    def test_a_score_is_always_a_number_that_json_knows(self, values: list[float]) -> None:
        for score in _scores(_predict(ZScore(channel="t", window=5, minimum=2), _readings(*values))):
            assert abs(score) <= Z_MAX


class TestThresholdAlert:
    def test_each_episode_is_told_once(self) -> None:
        alert = ThresholdAlert(channel="t", above=10)

        told = _told(_predict(alert, _readings(9, 10, 11, 12, 11, 10, 9, 10.5, 3)))

        assert told == [(2, "above", "start"), (5, "above", "end"), (7, "above", "start"), (8, "above", "end")]

    def test_hysteresis_keeps_a_value_that_trembles_from_many_alerts(self) -> None:
        trembling = [9.0, 10.1, 9.9, 10.1, 9.5, 10.1, 8.0, 10.1]

        assert _told(_predict(ThresholdAlert(channel="t", above=10, hysteresis=2), _readings(*trembling))) == [
            (1, "above", "start"),
            (6, "above", "end"),
            (7, "above", "start"),
        ]

    def test_below_is_the_mirror_of_above(self) -> None:
        alert = ThresholdAlert(channel="t", below=0, hysteresis=1)

        assert _told(_predict(alert, _readings(0, -0.1, 0.9, 1, -1))) == [
            (1, "below", "start"),
            (3, "below", "end"),
            (4, "below", "start"),
        ]

    def test_from_one_side_to_the_other_ends_one_alert_and_starts_the_next(self) -> None:
        alert = ThresholdAlert(channel="t", above=10, below=0)

        assert _told(_predict(alert, _readings(11, -1, 11, 5))) == [
            (0, "above", "start"),
            (1, "above", "end"),
            (1, "below", "start"),
            (2, "below", "end"),
            (2, "above", "start"),
            (3, "above", "end"),
        ]

    def test_the_finding_says_value_limit_and_unit(self) -> None:
        sample = make_frame().with_prediction("mean", Scalar(name="brightness", value=96.5, unit="grey"))

        [found] = _predict(ThresholdAlert(of="mean", above=90), [sample])

        now = encode_time(sample.time)
        fact, told = encode_prediction(found)["items"]
        assert fact == {"name": "brightness", "value": 96.5, "unit": "grey"}
        alarm = told["data"].pop("alarm")
        assert told == {
            **fact,
            "event": "threshold.alert",
            "data": {
                "value": 96.5, "limit": 90, "direction": "above", "state": "start", "start": now, "end": None,
            },
        }  # fmt: skip
        assert len(alarm) == 32

    def test_the_end_of_an_alert_has_its_start_and_the_id_of_its_beginning(self) -> None:
        alert = ThresholdAlert(channel="t", above=10)
        found = _predict(alert, [make_reading({"t": value}, seq=seq) for seq, value in enumerate((5, 12, 13, 9, 15))])
        told = [item.data for each in found if isinstance(each, Findings) for item in each if item.event and item.data]
        assert [(data["state"], data["start"][17:19], (data["end"] or "")[17:19]) for data in told] == [
            ("start", "01", ""),
            ("end", "01", "03"),
            ("start", "04", ""),
        ]
        alarms = [data["alarm"] for data in told]
        assert alarms[0] == alarms[1] != alarms[2]

    def test_of_a_window_the_mean_counts(self) -> None:
        alert = ThresholdAlert(channel="t", above=10)

        predictions = _predict(alert, [_window(0, 19), _window(9, 12)])

        assert _told(predictions) == [(1, "above", "start")]
        assert [each.value("t") for each in predictions if isinstance(each, Findings)] == [9.5, 10.5]

    def test_it_reads_the_z_score_and_waits_where_there_is_none(self) -> None:
        samples = [
            make_reading({"t": 1}).with_prediction("z", Scalar(name="t_z", value=5.0)),
            make_reading({"p": 1}).with_prediction("z", Findings()),
            make_reading({"t": 1}).with_prediction("z", Scalar(name="t_z", value=math.nan)),
            make_reading({"t": 1}).with_prediction("z", Scalar(name="t_z", value=0.0)),
        ]

        assert _told(_predict(ThresholdAlert(of="z", above=4), samples)) == [(0, "above", "start"), (3, "above", "end")]

    def test_an_earlier_predictor_that_is_missing_is_named(self) -> None:
        with pytest.raises(ConfigError, match="'z' of kind Scalar"):
            _predict(ThresholdAlert(of="z", above=4), [make_reading({"t": 1})])

    def test_a_sample_without_the_channel_finds_nothing(self) -> None:
        assert _told(_predict(ThresholdAlert(channel="t", above=1), [make_reading({"p": 5})])) == []

    def test_an_alert_that_goes_on_when_nothing_follows_ends_with_the_last_sample(self) -> None:
        alert = ThresholdAlert(channel="t", above=20, below=10)
        readings = [make_reading({"t": value}, seconds=seq, seq=seq) for seq, value in enumerate((15, 5, 7))]
        [begun] = [item for found in _predict(alert, readings) for item in found if item.event]  # type: ignore[attr-defined]

        [end] = alert.cut_off(readings[-1])

        assert end.value == 7
        assert end.data == {**begun.data, "value": 7, "state": "end", "end": encode_time(readings[-1].time)}
        assert alert.cut_off(readings[-1]) == ()

    def test_a_copy_begins_without_an_alert(self) -> None:
        alert = ThresholdAlert(channel="t", above=1)
        assert _told(_predict(alert, _readings(5))) == [(0, "above", "start")]
        assert _told(_predict(alert, _readings(5))) == [(0, "above", "start")]  # opened again

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"above": 1}, "either"),
            ({"of": "a", "channel": "b", "above": 1}, "either"),
            ({"channel": "a"}, "`above`, `below` or both"),
            ({"channel": "a", "above": 1, "hysteresis": -1}, "hysteresis"),
            ({"channel": "a", "above": 1, "below": 2}, "closer than the hysteresis"),
            ({"channel": "a", "above": 2, "below": 1, "hysteresis": 1.5}, "closer than the hysteresis"),
        ],
    )
    def test_fields_that_make_no_sense_are_refused(self, fields: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            ThresholdAlert(**fields)


def test_those_that_remember_say_so() -> None:
    assert (RangeCheck.stateful, ZScore.stateful, ThresholdAlert.stateful) == (False, True, True)
