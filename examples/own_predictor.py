"""A case in Python alone, with a predictor of its own: when does the picture get brighter?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sightline import Case, CaseBuildContext, Context, Frame, Predictor, Sample, Scalar, run


@dataclass(kw_only=True)
class Change(Predictor):
    """How much brighter a frame is than the one before it."""

    stateful: ClassVar[bool] = True  # its answer depends on earlier samples

    def open(self, context: Context) -> None:
        """Begin without a frame before."""
        super().open(context)
        self._before: float | None = None

    def predict(self, samples: Sequence[Sample[Frame]]) -> Sequence[Scalar]:
        """Return one Scalar called `change` for each frame."""
        return [self._changed(float(sample.payload.pixels_HWC.mean())) for sample in samples]

    def _changed(self, mean: float) -> Scalar:
        before, self._before = self._before, mean
        return Scalar(name="change", value=0.0 if before is None else mean - before)


def show(sample: Sample[Any]) -> None:
    print(f"{sample.id}: {sample.prediction('change', Scalar).value:+.1f}")


with CaseBuildContext() as context:
    pulse = context.plugin("sources", "synthetic", pattern="pulse", num_frames=40)
    case = Case(name="brighter", sources={"pulse": pulse}, stages={"analytics": {"change": Change()}})
    outcome = run(case, context=context, watch=show)
print(outcome.run.state, outcome.run.status["sources"]["pulse"]["processed"])
