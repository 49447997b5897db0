from __future__ import annotations

from sightline.core.case import PredictionStage
from sightline.core.run import Run, RunState


def test_the_stages_are_validation_then_analytics() -> None:
    assert [stage.value for stage in PredictionStage] == ["validation", "analytics"]
    assert f"{PredictionStage.VALIDATION}" == "validation"


def test_a_run_ends_completed_failed_or_cancelled() -> None:
    assert {state.value for state in RunState if state.is_final} == {"completed", "failed", "cancelled"}


def test_each_run_has_an_id_of_its_own_and_begins_submitted() -> None:
    first, second = Run(case="street"), Run(case="street")
    assert first.id != second.id
    assert (first.state, first.token, first.restart, first.project) == (RunState.SUBMITTED, 0, "never", "default")
