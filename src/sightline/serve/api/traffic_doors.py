"""`/api/v1/models/{name}/split` and `/shadow`: two versions of a model side by side."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from sightline.serve.api.asked import PREFIX, Name, Route
from sightline.serve.api.shapes import JsonObject, ShadowWish, SplitShape, SplitWish
from sightline.serve.platform import Platform


class TrafficDoors:
    """Answers `/models/{model}/split` and `/models/{model}/shadow`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.router = router = APIRouter(prefix=PREFIX, tags=["models"], route_class=Route)
        split, shadow = "/models/{model}/split", "/models/{model}/shadow"
        router.add_api_route(split, self.shares, response_model=SplitShape, name="get_split")
        router.add_api_route(split, self.split, methods=["PUT"], response_model=SplitShape, name="set_split")
        router.add_api_route(split, self.unsplit, methods=["DELETE"], status_code=204, name="end_split")
        router.add_api_route(shadow, self.report, response_model=JsonObject, name="get_shadow")
        router.add_api_route(
            shadow, self.shadow, methods=["POST"], status_code=201, response_model=JsonObject, name="start_shadow"
        )
        router.add_api_route(shadow, self.stop, methods=["DELETE"], status_code=204, name="end_shadow")

    def shares(self, model: Name) -> Any:
        """Show which versions get which shares of the calls."""
        name = self._name(model)
        return {"model": name, "weights": self._platform.context.sessions.shares(name)}

    def split(self, model: Name, wish: SplitWish) -> Any:
        """Split the calls of a model between versions, by weight."""
        self._platform.context.sessions.split(self._name(model), wish.weights)
        return self.shares(model)

    def unsplit(self, model: Name) -> Response:
        """Give all calls to one version again."""
        self._platform.context.sessions.split(self._name(model), {})
        return Response(status_code=204)

    def report(self, model: Name) -> Any:
        """Show how the answers of the candidate compare: agreement, differences, latencies."""
        return self._platform.context.sessions.shadow_report(self._name(model))

    def shadow(self, model: Name, wish: ShadowWish) -> Any:
        """Give a version copies of calls; nobody hears its answers, they are compared."""
        name, sessions = self._name(model), self._platform.context.sessions
        sessions.shadow(name, wish.version, wish.share)
        return sessions.shadow_report(name)

    def stop(self, model: Name) -> Response:
        """Copy no more calls."""
        self._platform.context.sessions.stop_shadow(self._name(model))
        return Response(status_code=204)

    def _name(self, model: str) -> str:
        """Return the reference that requests open for a model.

        Raises:
            ModelNotFound: there is none of this name.
        """
        self._platform.models.locate(model)
        return model
