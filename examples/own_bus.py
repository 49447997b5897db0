"""Put a port of your own in the place of the shipped one: a bus that also shows durable events."""

from sightline import CaseBuildContext, load_case, run
from sightline.adapters.bus_memory import MemoryBus
from sightline.core.events import Event


class LoudBus(MemoryBus):
    """Gives events to all subscribers, and to the screen."""

    def publish(self, event: Event) -> None:
        """Show the event, then pass it on."""
        if not event.is_transient:
            print(f"{event.short_type}: {event.subject or event.source}")
        super().publish(event)


with CaseBuildContext(bus=LoudBus()) as context:
    run(load_case("street_people", context=context), context=context)
