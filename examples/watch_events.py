"""Hear what happens while a case runs: subscribe to the bus of the process."""

from threading import Thread

from sightline import CaseBuildContext, load_case, run
from sightline.core.ports import Gap

with CaseBuildContext() as context:
    case = load_case("street_people", context=context)
    subscription = context.bus.subscribe(types=["line.crossed", "zone.dwell"], source="/cases/street_people")

    def watch() -> None:
        """Show events until the subscription is closed."""
        while (event := subscription.get()) is not None:
            if isinstance(event, Gap):
                print(f"{event.num_lost} events were lost: this reader is too slow")
            else:
                print(event.short_type, event.subject, event.data.get("direction") or event.data.get("zone"))

    watcher = Thread(target=watch)
    watcher.start()
    run(case, context=context)
    subscription.close()
    watcher.join()
