"""`/api/v1/models`: which models there are, what they say of themselves, and how they are made and moved."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from sightline.build.made_models import make_model
from sightline.core.access import Scope
from sightline.core.codec import from_json
from sightline.core.errors import Conflict, InvalidInput, ModelNotFound, SightlineError, WrongMediaType
from sightline.core.model import Model, ModelCard, named_version
from sightline.engine.registry import Located
from sightline.serve.api.asked import (
    PREFIX,
    After,
    Json,
    Limit,
    ModelRef,
    Name,
    Route,
    answer,
    exchange_of,
    page_of,
    told,
)
from sightline.serve.api.shapes import (
    AliasShape,
    AliasWish,
    LoadShape,
    ModelDetail,
    ModelLine,
    ModelShape,
    ModelWish,
    Page,
)
from sightline.serve.platform import Platform

_WISH = {"$ref": "#/components/schemas/ModelWish"}
BODY = {
    "requestBody": {
        "required": True,
        "description": "What the model is made of; the ONNX file is named in it, or uploaded beside it.",
        "content": {
            "application/json": {"schema": _WISH},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "config": {"type": "string", "contentMediaType": "application/json", "contentSchema": _WISH},
                        "file": {"type": "string", "contentMediaType": "application/octet-stream"},
                    },
                }
            },
        },
    }
}


class ModelDoors:
    """Answers `/models`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.router = router = APIRouter(prefix=PREFIX, tags=["models"], route_class=Route)
        router.add_api_route("/models", self.list_all, response_model=Page[ModelLine], name="list_models")
        router.add_api_route(
            "/models",
            self.create,
            methods=["POST"],
            status_code=201,
            response_model=ModelShape,
            name="create_model",
            openapi_extra=BODY,
            responses={
                200: {"model": ModelShape, "description": "It was the newest version already."},
                201: {"headers": {"Location": {"schema": {"type": "string"}}}},
            },
        )
        one = "/models/{model}"
        router.add_api_route(one, self.get, response_model=ModelDetail, name="get_model")
        router.add_api_route(f"{one}/versions/{{version}}", self.version, response_model=ModelShape, name="get_version")
        router.add_api_route(
            f"{one}/versions/{{version}}", self.remove, methods=["DELETE"], status_code=204, name="remove_version"
        )
        router.add_api_route(
            f"{one}/aliases/{{alias}}", self.move, methods=["POST"], response_model=AliasShape, name="move_alias"
        )
        router.add_api_route(f"{one}/aliases/{{alias}}", self.alias, response_model=AliasShape, name="get_alias")
        router.add_api_route(f"{one}/load", self.load, methods=["POST"], response_model=LoadShape, name="load_model")
        router.add_api_route(
            f"{one}/unload", self.unload, methods=["POST"], response_model=LoadShape, name="unload_model"
        )

    def list_all(self, limit: Limit = 50, after: After = None) -> Any:
        """List the models by name."""
        by_name: dict[str, list[Model]] = {}
        for model in self._platform.context.registry.list():
            by_name.setdefault(model.name, []).append(model)
        for name in self._platform.models.files:  # these are what the name means here, whatever was added
            card = self._platform.models.locate(name).card
            by_name[name] = [Model(name=name, version=card.version, card=card)]
        found = page_of(list(by_name), limit, after, lambda name: name)
        return {**found, "items": [self._line(name, by_name[name]) for name in found["items"]]}

    def get(self, model: ModelRef) -> Any:
        """Show a model: the card of what its name means now, versions, aliases, what is loaded."""
        located = self._platform.models.locate(model)
        name = located.name
        known = self._known(name)
        moved = sorted({alias: each.version for each in known for alias in each.aliases}.items())
        return {
            **self._card(located, known),
            "versions": [each.version for each in known] or [located.card.version],
            "moved": [self._moved(name, alias, version) for alias, version in moved],
            "loaded": self._loaded(name),
            "unloaded": self._platform.models.is_unloaded(model),
            "split": self._platform.context.sessions.shares(name),
            "shadow": self._platform.context.sessions.has_shadow(name),
        }

    def version(self, model: Name, version: Name) -> Any:
        """Show one version of a model; an alias is a version too."""
        located = self._platform.models.locate(model, version)
        return self._card(located, self._known(located.name))

    def remove(self, model: Name, version: Name) -> Response:
        """Remove a version that no alias points at, and its file; its number is not given again."""
        context = self._platform.context
        if version in context.sessions.shares(model):
            raise Conflict(f"Calls of {model!r} are split to version {version}.", cure="End the split first.")
        if model in self._platform.models.files:
            raise Conflict(f"{model!r} is a file that was named at the start.", cure="Remove the file itself.")
        context.registry.remove(model, version)
        context.sessions.refresh()
        self._platform.models.forget(model)
        self._platform.cases.forget(model)
        return Response(status_code=204)

    def alias(self, model: Name, alias: Name) -> Any:
        """Show where an alias points, and where it pointed before."""
        for each in self._known(model):
            if alias in each.aliases:
                return self._moved(model, alias, each.version)
        raise ModelNotFound(f"The model {model!r} has no alias {alias!r}.", cure="POST moves it to a version.")

    def move(self, model: Name, alias: Name, wish: AliasWish) -> Any:
        """Move an alias to a version; with `expected` only if it points there now."""
        context = self._platform.context
        expected = wish.expected if "expected" in wish.model_fields_set else "*"
        moved = context.registry.promote(model, alias, wish.version, expected=expected)
        context.sessions.refresh()
        return self._moved(model, alias, moved.version)

    def load(self, model: ModelRef) -> Any:
        """Open a model now, and take requests for it again."""
        self._platform.models.load(model)
        return self._loading(model)

    def unload(self, model: ModelRef) -> Any:
        """Give the memory of a model back, and take no requests for it until it is loaded again."""
        self._platform.models.unload(model)
        return self._loading(model)

    async def create(self, request: Request) -> Json:
        """Make a model version of a description and an ONNX file."""
        exchange = exchange_of(request)
        if exchange.media_type == "multipart/form-data":
            async with request.form(max_files=1, max_fields=1, max_part_size=1 << 20) as form:
                file, config = form.get("file"), form.get("config", "{}")
                if not isinstance(file, UploadFile) or not isinstance(config, str):
                    raise InvalidInput("The form has no file.", cure="Send `file`, and `config` with JSON.")
                wish = _read(from_json(config))
                return await run_in_threadpool(self._made, wish, file.file, exchange.caller.may(Scope.ADMIN))
        if exchange.media_type not in ("application/json", ""):
            raise WrongMediaType(
                f"A body of the type {exchange.media_type[:60]!r} is not taken.",
                cure="Send application/json or multipart/form-data.",
            )
        wish = _read(await request.json())
        return await run_in_threadpool(self._made, wish, None, exchange.caller.may(Scope.ADMIN))

    def _made(self, wish: Mapping[str, Any], data: Any, may_read_paths: bool) -> Json:
        context = self._platform.context
        before = {model.ref for model in context.store.models.list()}
        model = make_model(context, wish, data, may_read_paths=may_read_paths)
        context.sessions.refresh()
        where = {"Location": f"{PREFIX}/models/{model.name}/versions/{model.version}"}
        return answer(_facts(model.card, model), 200 if model.ref in before else 201, **where)

    def _known(self, name: str) -> list[Model]:
        """Return the versions that were added of a model; none for a file or a shipped model."""
        files = self._platform.models.files
        return [] if name in files else list(self._platform.context.store.models.list(name))

    def _loaded(self, name: str) -> list[dict[str, Any]]:
        return [asdict(each) for each in self._platform.context.sessions.loaded() if each.name == name]

    def _loading(self, name: str) -> dict[str, Any]:
        return {
            "name": named_version(name)[0],
            "unloaded": self._platform.models.is_unloaded(name),
            "loaded": self._loaded(self._platform.models.locate(name).name),
        }

    def _line(self, name: str, versions: list[Model]) -> dict[str, Any]:
        aliases = {alias: each.version for each in versions for alias in each.aliases if each.files}
        current = next((each for each in versions if each.version == aliases.get("production")), versions[0])
        return {
            "name": name,
            "version": current.version,
            "task": current.card.task,
            "title": current.card.title,
            "licence": current.card.licence,
            "versions": [each.version for each in versions],
            "aliases": aliases,
            "loaded": [each["version"] for each in self._loaded(name) if each["is_open"]],
            "unloaded": self._platform.models.is_unloaded(name),
        }

    def _card(self, located: Located, known: list[Model]) -> dict[str, Any]:
        """Return the card of a model, with inputs and outputs where it can be opened."""
        card = located.card
        if not self._platform.models.is_unloaded(located.name):
            with suppress(SightlineError):  # what the file says of itself is shown all the same
                card = self._platform.context.open_model(located.ref if known else str(located.path)).card
        model = next((each for each in known if each.version == located.card.version), None)
        return _facts(card, model)

    def _moved(self, name: str, alias: str, version: str) -> dict[str, Any]:
        history = self._platform.context.store.models.history(name, alias)
        return {
            "alias": alias,
            "version": version,
            "history": [{"time": told(time), "version": number} for time, number in history],
        }


def _read(config: Any) -> Mapping[str, Any]:
    """Return the description that a caller sent.

    Raises:
        RequestValidationError: it is none.
    """
    try:
        wish = ModelWish.model_validate(config)
    except ValidationError as error:
        errors = [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_url=False)]
        raise RequestValidationError(errors, body=config) from None
    return wish.model_dump(exclude_unset=True, exclude_none=True)


def _facts(card: ModelCard, model: Model | None) -> dict[str, Any]:
    return {
        **asdict(card),
        "ref": card.ref,
        "aliases": [] if model is None else list(model.aliases),
        "created": None if model is None else told(model.created),
    }
