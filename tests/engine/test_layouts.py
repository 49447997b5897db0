"""How many rows, workers and threads a model gets: measured, remembered, and out of the way of real work."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from tests.engine.bench import Bench, Clock, x
from tests.engine.nets import doubling_net

from sightline.adapters.runtime_onnx import OnnxRuntime
from sightline.core.errors import InvalidInput
from sightline.core.model import ModelCard, TensorSpec
from sightline.core.ports import Array, Runtime, Session, Tensors
from sightline.engine.layouts import Layout, LayoutFiles, SessionLayout, made_up_feeds, num_cores, start_layout
from sightline.engine.measuring import Disturbed, OutOfTime, Stopwatch, best_batch

OPEN = SessionLayout(num_workers=None, max_batch=None)


class PricedSession(Session):
    """Takes as long as its price for the rows says; calls take turns where `one_at_a_time`."""

    def __init__(self, card: ModelCard, runtime: PricedRuntime) -> None:
        self.card = card
        self._runtime = runtime
        self.closed = False

    def run(self, feeds: Tensors) -> dict[str, Array]:
        runtime, rows = self._runtime, len(feeds["x"])
        if rows > runtime.most:
            raise InvalidInput("Too many rows.")
        runtime.sizes.append(rows)
        runtime.during()
        side_by_side = 1 if runtime.one_at_a_time else num_cores() // runtime.threads
        runtime.clock.spend((runtime.fixed_s + runtime.row_s * rows) / runtime.threads, side_by_side=side_by_side)
        return {"y": feeds["x"] * 2}

    def close(self) -> None:
        self.closed = True


class PricedRuntime(Runtime):
    """Opens sessions whose calls cost `fixed_s` and `row_s` for each row."""

    def __init__(
        self, *, fixed_s: float = 0.0, row_s: float = 0.0, most: int = 1000, clock: Clock | None = None
    ) -> None:
        self.fixed_s, self.row_s, self.most = fixed_s, row_s, most
        self.clock = clock or Clock()
        self.one_at_a_time = False
        self.threads = 1
        self.sizes: list[int] = []
        self.opened = 0
        self.sessions: list[PricedSession] = []
        self.others: list[PricedRuntime] = []
        self.during: Callable[[], object] = lambda: None

    @property
    def version(self) -> str:
        return "priced 1"

    def open(self, path: Path, *, name: str = "", device: str = "auto") -> PricedSession:
        self.opened += 1
        card = ModelCard(name=name, inputs=(TensorSpec(name="x", dtype="float32", shape=("n", 2)),))
        self.sessions.append(PricedSession(card, self))
        return self.sessions[-1]

    def with_threads(self, num: int) -> PricedRuntime:
        if num == 1:
            return self
        other = PricedRuntime(fixed_s=self.fixed_s, row_s=self.row_s, clock=self.clock)
        other.threads = num
        self.others.append(other)
        return other

    def devices(self) -> Sequence[str]:
        return ("cpu",)


def measured_bench(folder: Path, runtime: Runtime, **layout: Any) -> Bench:
    now = runtime.clock.now if isinstance(runtime, PricedRuntime) else time.perf_counter
    layout = {"num_workers": None, "max_batch": None, **layout}
    return Bench(folder, runtime, remembered=folder / "cache", now=now, **layout)


def settled(bench: Bench, timeout_s: float = 20) -> Any:
    """Wait until nothing is left to measure; return what is loaded."""
    until = time.monotonic() + timeout_s
    while bench.sessions._measuring._thread is not None:
        assert time.monotonic() < until, "measuring does not end"
        time.sleep(0.005)
    return bench.sessions.loaded()[0]


@pytest.fixture
def files(tmp_path: Path) -> LayoutFiles:
    return LayoutFiles(tmp_path / "cache", runtime="own 1", settings=OPEN)


class TestFiles:
    def test_what_was_measured_is_found_again_for_the_same_content_runtime_and_settings(
        self, files: LayoutFiles, tmp_path: Path
    ) -> None:
        layout = Layout(max_batch=8, num_workers=1, num_threads=4)
        assert files.find("sha256:a") is None
        files.keep("sha256:a", layout)
        assert files.find("sha256:a") == layout
        assert files.find("sha256:b") is None
        assert LayoutFiles(tmp_path / "cache", runtime="own 2", settings=OPEN).find("sha256:a") is None
        given = SessionLayout(num_workers=2, max_batch=None)
        assert LayoutFiles(tmp_path / "cache", runtime="own 1", settings=given).find("sha256:a") is None
        assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".json"]

    @pytest.mark.parametrize(
        "damage",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b"\xff\xfe",
            b'{"layout": {}}',
            b"[" * 5000,
            b" " * 20_000,
        ],
    )
    def test_a_damaged_file_is_as_none_and_is_written_anew(
        self, files: LayoutFiles, tmp_path: Path, damage: bytes
    ) -> None:
        files.keep("sha256:a", Layout(max_batch=4))
        [path] = (tmp_path / "cache").iterdir()
        path.write_bytes(damage)
        assert files.find("sha256:a") is None
        files.keep("sha256:a", Layout(max_batch=4))
        assert files.find("sha256:a") == Layout(max_batch=4)

    @pytest.mark.parametrize("value", [0, -1, 1.5, True, "8", None, 10**9])
    def test_numbers_that_cannot_be_are_not_believed(self, files: LayoutFiles, tmp_path: Path, value: Any) -> None:
        files.keep("sha256:a", Layout(max_batch=4))
        [path] = (tmp_path / "cache").iterdir()
        found = json.loads(path.read_bytes())
        found["layout"]["max_batch"] = value
        path.write_text(json.dumps(found))
        assert files.find("sha256:a") is None

    def test_a_folder_that_cannot_be_written_stops_nobody(self, tmp_path: Path) -> None:
        (tmp_path / "cache").write_text("a file")
        files = LayoutFiles(tmp_path / "cache", runtime="own 1", settings=OPEN)
        files.keep("sha256:a", Layout(max_batch=4))
        assert files.find("sha256:a") is None


class TestMadeUpFeeds:
    @pytest.mark.parametrize(
        ("shape", "size", "made"),
        [
            ((1, 3, 8, 6), None, (1, 3, 8, 6)),
            (("n", 2), None, (1, 2)),
            (("n", 3, "h", "w"), [6, 8], (1, 3, 8, 6)),
            (("n", None, None, 3), [6, 8], (1, 8, 6, 3)),
            (("n", "length"), None, None),
            (("n", 100_000, 100_000), None, None),
            ((), None, ()),
        ],
    )
    def test_free_axes_come_from_the_preprocessing(self, shape: Any, size: Any, made: Any) -> None:
        spec = TensorSpec(name="x", dtype="float32", shape=shape)
        card = ModelCard(name="net", inputs=(spec,), preprocessing={} if size is None else {"size": size})
        feeds = made_up_feeds(card)
        assert (None if feeds is None else feeds["x"].shape) == made

    def test_real_work_shows_how_long_free_axes_are(self) -> None:
        card = ModelCard(name="net", inputs=(TensorSpec(name="ids", dtype="int64", shape=("n", "length")),))
        feeds = made_up_feeds(card, (("ids", "<i8", (7,)),))
        assert feeds is not None
        assert (feeds["ids"].shape, feeds["ids"].dtype) == ((1, 7), np.dtype(np.int64))

    def test_a_net_without_inputs_or_with_texts(self) -> None:
        assert made_up_feeds(ModelCard(name="net")) is None
        card = ModelCard(name="net", inputs=(TensorSpec(name="text", dtype="object", shape=("n",)),))
        assert made_up_feeds(card) == {"text": np.array([""], object)}

    def test_a_file_of_another_model_under_this_name_is_not_believed(self, files: LayoutFiles, tmp_path: Path) -> None:
        files.keep("sha256:a", Layout(max_batch=4))
        [other] = (tmp_path / "cache").iterdir()
        files.keep("sha256:b", Layout(max_batch=8))
        [path] = set((tmp_path / "cache").iterdir()) - {other}
        path.write_bytes(other.read_bytes())
        assert files.find("sha256:b") is None


class TestStopwatch:
    def test_runs_that_real_work_came_into_are_not_counted(self) -> None:
        idle = True
        num_runs = 0
        clock = Clock()

        def run() -> None:
            nonlocal idle, num_runs
            num_runs += 1
            clock.spend(0.03 if num_runs % 2 else 0.001)
            idle = num_runs % 2 == 1  # real work came into every second run, the quick ones

        def is_idle() -> bool:
            nonlocal idle
            now, idle = idle, True
            return now

        assert Stopwatch(is_idle, Event(), clock.now).best(run, runs=2) == pytest.approx(0.03)
        assert num_runs == 3

    def test_a_model_that_is_never_left_alone_is_given_up_for_now(self) -> None:
        quiet = [False]

        def is_idle() -> bool:
            quiet[0] = not quiet[0]
            return quiet[0]

        with pytest.raises(Disturbed):
            Stopwatch(is_idle, Event()).best(lambda: None)

    def test_the_time_for_a_model_has_an_end(self) -> None:
        clock = Clock()
        watch = Stopwatch(lambda: True, Event(), clock.now)
        with pytest.raises(OutOfTime):
            watch.best(lambda: clock.spend(0.2), runs=20)
        assert 1 < clock.now() < 2


class TestBestBatch:
    def best(self, runtime: PricedRuntime) -> int:
        watch = Stopwatch(lambda: True, Event(), runtime.clock.now)
        return best_batch(runtime.open(Path("net")), x(), runtime.fixed_s + runtime.row_s, watch)

    def test_rows_that_cost_the_same_each_are_not_joined(self) -> None:
        assert self.best(PricedRuntime(row_s=0.004)) == 1

    def test_a_price_for_each_call_is_shared_by_many_rows(self) -> None:
        assert self.best(PricedRuntime(fixed_s=0.01)) == 32

    def test_a_net_that_refuses_many_rows_gets_as_many_as_it_took(self) -> None:
        assert self.best(PricedRuntime(fixed_s=0.005, most=4)) == 4

    def test_batches_that_would_hold_up_others_are_not_tried(self) -> None:
        runtime = PricedRuntime(row_s=0.15)
        assert self.best(runtime) == 1
        assert runtime.sizes == []


class TestMeasuring:
    @pytest.fixture
    def runtime(self) -> PricedRuntime:
        return PricedRuntime(fixed_s=0.004)

    @pytest.fixture
    def bench(self, tmp_path: Path, runtime: PricedRuntime) -> Iterator[Bench]:
        made = measured_bench(tmp_path, runtime)
        yield made
        made.sessions.close()

    def test_one_row_a_call_until_it_was_measured_and_remembered_for_the_next_process(
        self, bench: Bench, runtime: PricedRuntime, tmp_path: Path
    ) -> None:
        handle = bench.sessions.open(str(bench.path))
        handle.run(x())
        before = bench.sessions.loaded()[0]
        assert (before.max_batch, before.workers, before.threads) == (1, num_cores(), 1)
        after = settled(bench)
        assert after.max_batch == 32
        assert handle.run(x(4))["y"][0, 0] == 8

        num_runs = len(runtime.sizes)
        other = measured_bench(tmp_path, runtime)
        other.sessions.load(str(other.path))
        assert settled(other).max_batch == 32
        other.sessions.close()
        assert len(runtime.sizes) == num_runs + 1

    def test_threads_inside_a_call_are_chosen_where_calls_cannot_run_side_by_side(
        self, bench: Bench, runtime: PricedRuntime
    ) -> None:
        if num_cores() < 2:
            pytest.skip("one core has nothing to choose from")
        runtime.one_at_a_time = True
        handle = bench.sessions.open(str(bench.path))
        handle.run(x())
        found = settled(bench)
        assert (found.workers, found.threads) == (1, num_cores())
        assert handle.run(x(4))["y"][0, 0] == 8
        until = time.monotonic() + 20
        while not runtime.sessions[0].closed:
            assert time.monotonic() < until, "the first session stays open"
            time.sleep(0.001)

    def test_threads_inside_a_call_are_not_chosen_where_they_gain_nothing(
        self, bench: Bench, runtime: PricedRuntime
    ) -> None:
        bench.sessions.open(str(bench.path)).run(x())
        found = settled(bench)
        assert (found.workers, found.threads) == (num_cores(), 1)
        assert all(session.closed for other in runtime.others for session in other.sessions)

    @pytest.mark.parametrize("given", [{"num_workers": 2}, {"max_batch": 3}, {"num_workers": 2, "max_batch": 3}])
    def test_what_the_settings_say_is_not_measured(
        self, tmp_path: Path, runtime: PricedRuntime, given: dict[str, int]
    ) -> None:
        bench = measured_bench(tmp_path, runtime, **given)
        bench.sessions.open(str(bench.path)).run(x())
        found = settled(bench)
        if "max_batch" in given:
            assert found.max_batch == 3
            assert max(runtime.sizes) == 1
        if "num_workers" in given:
            assert (found.workers, found.threads) == (2, 1)
            assert runtime.others == []
        if len(given) == 2:
            assert runtime.sizes == [1]
        bench.sessions.close()

    def test_measuring_gives_way_to_real_work(
        self, bench: Bench, runtime: PricedRuntime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sightline.engine.measuring._IDLE_S", 20.0)  # a busy machine may hold up this loop
        handle = bench.sessions.open(str(bench.path))
        until = time.monotonic() + 0.5
        num = 0
        while time.monotonic() < until:
            handle.run(x())
            num += 1
        assert runtime.sizes == [1] * num
        monkeypatch.undo()
        assert settled(bench).max_batch == 32

    def test_closing_while_measuring_does_not_wait_for_it(self, bench: Bench, runtime: PricedRuntime) -> None:
        runtime.during = lambda: time.sleep(0.3)  # so that all runs take many seconds
        bench.sessions.open(str(bench.path)).run(x())
        until = time.monotonic() + 20
        while len(runtime.sizes) < 3:
            assert time.monotonic() < until
            time.sleep(0.005)
        begin = time.monotonic()
        bench.sessions.close()
        assert time.monotonic() - begin < 4

    def test_what_was_found_on_a_model_that_was_closed_meanwhile_is_not_kept(
        self, bench: Bench, runtime: PricedRuntime, tmp_path: Path
    ) -> None:
        bench.sessions.open(str(bench.path)).run(x())
        runtime.during = lambda: bench.sessions.unload("double") if len(runtime.sizes) > 20 else None
        settled(bench)
        assert not (tmp_path / "cache").exists()
        runtime.during = lambda: None
        bench.sessions.open(str(bench.path)).run(x())
        assert settled(bench).max_batch == 32

    def test_a_net_that_cannot_run_on_made_up_input_stays_as_it_is(self, bench: Bench, runtime: PricedRuntime) -> None:
        handle = bench.sessions.open(str(bench.path))
        runtime.most = 0
        with pytest.raises(InvalidInput):
            handle.run(x())
        found = settled(bench)
        assert (found.max_batch, found.workers, found.threads) == (1, num_cores(), 1)


def test_a_real_net_is_measured_within_seconds(tmp_path: Path) -> None:
    bench = measured_bench(tmp_path, OnnxRuntime())
    bench.path = doubling_net(tmp_path / "wide.onnx", columns=64)
    bench.sessions.load(str(bench.path))
    begin = time.monotonic()
    found = settled(bench)
    assert time.monotonic() - begin < 15
    assert found.max_batch >= 1
    assert bench.sessions.open(str(bench.path)).run({"x": np.ones((3, 64), np.float32)})["y"].sum() == 384
    bench.sessions.close()


def test_a_model_of_volumes_runs_one_call_at_a_time_with_all_cores() -> None:
    volumes = start_layout(ModelCard(name="net", task="volume-segmentation"))
    pictures = start_layout(ModelCard(name="net", task="object-detection"))
    assert (volumes.num_workers, volumes.num_threads) == (1, num_cores())
    assert (pictures.num_workers, pictures.num_threads) == (num_cores(), 1)
