"""Start a case on a running server and follow what it sees; a lost connection is taken up where it broke off."""

from sightline import Client
from sightline.core.ports import Gap

with Client.from_env() as client:
    run = client.runs.start("street_people")
    print(f"run {run.id} is {run.state.value}")
    for event in client.events(case="street_people", types=["line.*", "zone.*", "source.stopped"]):
        if isinstance(event, Gap):
            print(f"{event.num_lost or 'some'} events were lost: this reader is too slow")
            continue
        print(event.short_type, event.subject or event.source)
        if event.short_type == "source.stopped":
            break
    run = client.runs.wait(run.id, timeout_s=30)
    print(f"run {run.id} is {run.state.value}")
