"""Run a shipped case: people of a street are found, followed and counted."""

from sightline import Boxes, load_case, run

case = load_case("street_people", changes={"stages.analytics.found.threshold": 0.3})
outcome = run(case, watch=lambda sample: print(sample.id, len(sample.prediction("people", Boxes)), "people"))
print(outcome.run.state, outcome.made["video"])
