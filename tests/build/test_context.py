from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from tests.build.conftest import Load

from sightline.adapters.bus_memory import MemoryBus
from sightline.adapters.meter_prometheus import PrometheusMeter
from sightline.adapters.runtime_onnx import OnnxRuntime
from sightline.build import CaseBuildContext
from sightline.core.errors import BrokenPlugin, ConfigError, ModelNotFound, UnknownPlugin
from sightline.core.ports import Ports
from sightline.testing import FakePorts

PORTS = ("artifacts", "store", "bus", "runtime", "meter")
BUSES = """
from sightline.adapters.bus_memory import MemoryBus


class Plain(MemoryBus):
    settings = None


class Settled(MemoryBus):
    @classmethod
    def from_settings(cls, settings):
        made = cls()
        made.settings = settings
        return made


class Wrong(MemoryBus):
    @classmethod
    def from_settings(cls, settings):
        return "no bus"


class Failing(MemoryBus):
    def __init__(self):
        raise RuntimeError("no network")


class Silent:
    pass
"""


@pytest.fixture
def buses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of a module with buses of a user."""
    (tmp_path / "buses_of_a_user.py").write_text(BUSES)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "buses_of_a_user"
    sys.modules.pop("buses_of_a_user", None)


def test_nothing_is_made_before_it_is_asked_for(load: Load, tmp_path: Path) -> None:
    with CaseBuildContext(load()) as context:
        ports: Ports = context
        assert ports is context

    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", PORTS)
def test_every_port_can_be_given_and_is_not_closed(load: Load, name: str) -> None:
    fakes = FakePorts()
    given = getattr(fakes, name)

    with CaseBuildContext(load(), **{name: given}) as context:
        assert getattr(context, name) is given
        made = {other: getattr(context, other) for other in PORTS if other != name}
        assert all(made.values())

    if name == "store":
        assert list(given.runs.list()) == []
    if name == "bus":
        assert given.subscribe().get(0) is None


@pytest.mark.parametrize("name", PORTS)
def test_a_port_of_the_wrong_type_is_refused(load: Load, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}=...") as caught:
        CaseBuildContext(load(), **cast("dict[str, Any]", {name: object()}))

    assert "Inherit sightline.core.ports." in caught.value.cure


def test_a_port_is_named_by_setting_as_an_import_path(load: Load, buses: str) -> None:
    with CaseBuildContext(load(SIGHTLINE_ADAPTERS__BUS=f"{buses}:Plain")) as context:
        assert type(context.bus).__name__ == "Plain"
    with CaseBuildContext(load(SIGHTLINE_ADAPTERS__BUS=f"{buses}:Settled")) as context:
        assert vars(context.bus)["settings"] is context.settings


@pytest.mark.parametrize(
    ("setting", "name", "path"),
    [
        ("ARTIFACTS", "artifacts", "sightline.adapters.artifacts:ObjectStore"),
        ("RUNTIME", "runtime", "sightline.adapters.runtime_onnx:OnnxRuntime"),
        ("METER", "meter", "sightline.adapters.meter_prometheus:PrometheusMeter"),
    ],
)
def test_every_setting_of_an_adapter_is_obeyed(load: Load, setting: str, name: str, path: str) -> None:
    kinds: dict[str, type] = {"runtime": OnnxRuntime, "meter": PrometheusMeter}
    with CaseBuildContext(load(**{f"SIGHTLINE_ADAPTERS__{setting}": path})) as context:
        if name in kinds:
            assert isinstance(getattr(context, name), kinds[name])
        else:
            with pytest.raises(BrokenPlugin, match="TypeError"):  # it needs the address that only the own name gives
                getattr(context, name)


@pytest.mark.parametrize(
    ("bus", "kind", "words"),
    [
        ("nothing", UnknownPlugin, "'nothing'"),
        ("no_such_module:Bus", BrokenPlugin, "No module named"),
        ("{buses}:Wrong", BrokenPlugin, "made a str, not a EventBus"),
        ("{buses}:Silent", BrokenPlugin, "is no EventBus"),
        ("{buses}:Failing", BrokenPlugin, "RuntimeError: no network"),
    ],
)
def test_an_adapter_that_cannot_be_made_is_told_with_its_place(
    load: Load, buses: str, bus: str, kind: type[ConfigError], words: str
) -> None:
    with CaseBuildContext(load(SIGHTLINE_ADAPTERS__BUS=bus.format(buses=buses))) as context:
        with pytest.raises(kind, match=words) as caught:
            _ = context.bus

        own_line = "buses_of_a_user.py:" in caught.value.location
        assert own_line or caught.value.location == "environment SIGHTLINE_ADAPTERS__BUS"


def test_many_threads_that_ask_first_get_the_same_port(load: Load) -> None:
    with CaseBuildContext(load()) as context:
        found: list[object] = []
        barrier = threading.Barrier(8)

        def ask() -> None:
            barrier.wait()
            found.append(context.store)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len({id(store) for store in found}) == 1


def test_closing_closes_what_was_made_and_twice_does_nothing(context: CaseBuildContext) -> None:
    bus, store = context.bus, context.store
    subscription = bus.subscribe()

    context.close()
    context.close()

    assert subscription.get(0) is None
    with pytest.raises(Exception, match="closed"):
        store.runs.list()


def test_a_port_that_does_not_close_does_not_keep_the_others_open(load: Load) -> None:
    class Stubborn(MemoryBus):
        def close(self) -> None:
            raise OSError("still busy")

    class Own(CaseBuildContext):
        pass

    context = Own(load())
    store = context.store
    vars(context)["_made"]["bus"] = Stubborn()

    context.close()

    with pytest.raises(Exception, match="closed"):
        store.runs.list()


def test_the_world_of_a_plugin_opens_models(context: CaseBuildContext) -> None:
    world = context.world(case="door", source="a")

    assert world.open_model("nanodet-m").version == "nanodet-m@1"
    assert (world.case, world.source, world.ports) == ("door", "a", context)
    with pytest.raises(ModelNotFound, match="Known: "):
        world.open_model("nothing")


def test_the_number_of_workers_is_a_setting(load: Load) -> None:
    with CaseBuildContext(load(SIGHTLINE_MODELS__WORKERS="3", SIGHTLINE_MODELS__MAX_BATCH="2")) as context:
        layout = vars(context.sessions)["_layout"]

        assert (layout.num_workers, layout.max_batch) == (3, 2)


def test_sinks_know_where_they_may_send_to_and_the_backend_is_among_it(load: Load) -> None:
    assert CaseBuildContext(load()).world().reachable == ("public",)
    loaded = load(
        SIGHTLINE_WEBHOOKS__ALLOW="hooks.internal,10.0.0.0/8", BACKEND_URL="http://user:password@backend:8080/x"
    )
    assert CaseBuildContext(loaded).world().reachable == ("hooks.internal", "10.0.0.0/8", "backend")
