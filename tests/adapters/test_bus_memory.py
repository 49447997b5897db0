import pytest

from sightline.adapters.bus_memory import MemoryBus
from sightline.core.errors import InvalidInput
from sightline.testing.contracts import EventBusContract


class TestMemoryBus(EventBusContract):
    @pytest.fixture
    def bus(self) -> MemoryBus:
        return MemoryBus()

    def test_a_closed_subscription_is_forgotten(self, bus: MemoryBus) -> None:
        bus.subscribe().close()
        assert bus._subscriptions == ()

    def test_a_capacity_of_nothing_is_refused(self, bus: MemoryBus) -> None:
        with pytest.raises(InvalidInput, match="capacity"):
            bus.subscribe(capacity=0)
