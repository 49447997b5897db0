"""`sightline models`: which models there are, what they say of themselves, and how to add one."""

from __future__ import annotations

import json as jsons
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.core.errors import FileMissing, InvalidInput, ModelNotFound
from sightline.serve.cli.session import print_json, session_of

if TYPE_CHECKING:
    from sightline.build import CaseBuildContext
    from sightline.core.model import ModelCard

app = typer.Typer(help="List, show, add and remove models.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_NUM_SHOWN = 8  # labels


@app.command("list")
def list_(context: typer.Context, *, json: AsJson = False) -> None:
    """List the models that a case can name: yours, the shipped ones, and their aliases."""
    session = session_of(context)
    with session.errors(), session.build() as build:
        models = build.registry.list()
        if json:
            print_json([_facts(model.card) | {"aliases": list(model.aliases)} for model in models])
            return
        width = max((len(model.ref) for model in models), default=0)
        tasks = max((len(model.card.task or "no task") for model in models), default=0)
        for model in models:
            aliases = f"  also: {', '.join(model.aliases)}" if model.aliases else ""
            words = model.card.title or model.card.description
            typer.echo(f"{model.ref:<{width}}  {model.card.task or 'no task':<{tasks}}  {words}{aliases}".rstrip())


@app.command("show")
def show(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="MODEL", help="Name, name@version, alias, or a path.")],
    *,
    json: AsJson = False,
) -> None:
    """Show the card of a model."""
    session = session_of(context)
    with session.errors(), session.build() as build:
        located = build.registry.locate(ref)
        opened = build.runtime.open(located.path, name=located.name, device="cpu")
        try:
            card = opened.card
        finally:
            opened.close()
        facts = _facts(card) | {"file": str(located.path), "bytes": located.path.stat().st_size}
        if json:
            print_json(facts | {"labels": list(card.labels)})
            return
        for name, value in facts.items():
            if value not in ("", [], {}) and name != "num_labels":
                typer.echo(f"{name:<16} {_shown(value)}")
        if card.labels:
            more = ", ..." if len(card.labels) > _NUM_SHOWN else ""
            shown = ", ".join(label or "-" for label in card.labels[:_NUM_SHOWN])
            typer.echo(f"{'labels':<16} {len(card.labels)}: {shown}{more}")


@app.command("add")
def add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="The model.")],
    *,
    name: Annotated[str | None, typer.Option(help="Name of the model; default: the file's.")] = None,
    task: Annotated[str | None, typer.Option(help="image-classification, object-detection, ...")] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="NAMES|FILE|MODEL", help="Names by class id: a,b,c; a text file; or a model.")
    ] = None,
    preprocess: Annotated[
        str | None, typer.Option(metavar="PRESET|JSON|FILE", help="A preset such as torchvision or yolo, or JSON.")
    ] = None,
    postprocess: Annotated[str | None, typer.Option(metavar="JSON|FILE", help="How the outputs are read.")] = None,
    title: Annotated[str | None, typer.Option(help="One line that tells what it is.")] = None,
    licence: Annotated[str | None, typer.Option(help="SPDX name of its licence.")] = None,
    origin: Annotated[str | None, typer.Option(help="Where it comes from.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also where it is for another task than before.")] = False,
    json: AsJson = False,
) -> None:
    """Add an ONNX file as the next version of a model; what it is goes into the file itself."""
    session = session_of(context)
    with session.errors(), session.build() as build:
        card = _card_of(build, file, name)
        given: dict[str, Any] = {"task": task, "title": title, "licence": licence, "source": origin}
        preset = "" if preprocess is None or _is_json(preprocess) else preprocess
        given["preprocessing"] = _mapping(preprocess) if preprocess and _is_json(preprocess) else None
        given["postprocessing"] = _mapping(postprocess) if postprocess else None
        given["labels"] = _labels(build, labels) if labels else None
        card = replace(card, **{key: value for key, value in given.items() if value is not None})
        if not card.task:
            known = ", ".join(build.catalog.names("tasks"))
            raise InvalidInput(f"{file.name} does not say what its task is.", cure=f"Add --task with one of: {known}")
        card = build.catalog.load("tasks", card.task).completed(card, preset)
        before = {model.ref for model in build.store.models.list(card.name)}
        model = build.registry.add(file, card, force=force)
        if json:
            print_json(_facts(model.card))
            return
        done = "unchanged" if model.ref in before else "added"
        typer.echo(f"{done} {model.ref}: {model.card.task}, {len(model.card.labels)} labels")
        typer.echo(f"  preprocessing  {_shown(model.card.preprocessing)}")
        typer.echo(f"  postprocessing {_shown(model.card.postprocessing)}")
        typer.echo(f"try: sightline models show {model.name}")


@app.command("remove")
def remove(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="A version that no alias points at.")],
    *,
    json: AsJson = False,
) -> None:
    """Remove a version of an added model, and its file; its number is not given again."""
    from sightline.core.model import split_ref  # with numpy, which help does without

    session = session_of(context)
    with session.errors(), session.build() as build:
        name, version = split_ref(ref)
        if version is None:
            raise InvalidInput(f"{ref!r} names no version.", cure=f"Write {name}@VERSION: sightline models list")
        gone = build.registry.remove(name, version)
        print_json({"model": gone.ref, "removed": True}) if json else typer.echo(f"removed {gone.ref}")


def _card_of(build: CaseBuildContext, file: Path, name: str | None) -> ModelCard:
    """Return the card of a file, with its inputs and outputs."""
    opened = build.runtime.open(file, name=name or file.stem, device="cpu")
    try:
        return opened.card if name is None else replace(opened.card, name=name)
    finally:
        opened.close()


def _labels(build: CaseBuildContext, text: str) -> tuple[str | None, ...]:
    """Return labels from `a,b,c`, from a file with one name per line or a JSON list, or from another model."""
    if (path := _file(text)) is not None:
        content = _content(path)
        if content.lstrip().startswith("["):
            names = _parsed(content)
            if not all(name is None or isinstance(name, str) for name in names):
                raise InvalidInput(f"The labels in {path} are no list of names.", cure='Write ["person", "car"].')
            return tuple(names)
        return tuple(line.strip() or None for line in content.splitlines())
    if "," in text:
        names = [label.strip() or None for label in text.split(",")]
        return tuple(names[:-1] if names[-1] is None else names)
    if Path(text).suffix:
        raise FileMissing(f"No labels file is at {text}.", cure="Check the path.")
    try:
        return build.registry.locate(text).card.labels
    except ModelNotFound as error:
        error.cure = f"Labels are NAMES with commas, a file, or a model; for a single class write {text!r} and a comma."
        raise


def _is_json(text: str) -> bool:
    return text.lstrip().startswith("{") or _file(text) is not None


def _mapping(text: str) -> Mapping[str, Any]:
    path = _file(text)
    value = _parsed(text if path is None else _content(path))
    if not isinstance(value, dict):
        raise InvalidInput("Processing is a JSON object.", cure="See docs/reference/model-metadata.md")
    return value


def _file(text: str) -> Path | None:
    """Return the file that `text` names, or None; most texts are no paths, and some are longer than a path may be."""
    try:
        path = Path(text)
        return path if path.is_file() else None
    except (OSError, ValueError):
        return None


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is no UTF-8 text.", cure="Save it as UTF-8.") from None


def _parsed(text: str) -> Any:
    try:
        return jsons.loads(text)
    except (jsons.JSONDecodeError, RecursionError) as error:
        raise InvalidInput(f"Not JSON: {error}.", cure="See docs/reference/model-metadata.md") from None


def _facts(card: ModelCard) -> dict[str, Any]:
    return {
        "name": card.name,
        "version": card.version,
        "task": card.task,
        "title": card.title,
        "description": card.description,
        "inputs": [_tensor(spec) for spec in card.inputs],
        "outputs": [_tensor(spec) for spec in card.outputs],
        "num_labels": len(card.labels),
        "preprocessing": dict(card.preprocessing),
        "postprocessing": dict(card.postprocessing),
        "metrics": dict(card.metrics),
        "licence": card.licence,
        "source": card.source,
        "digest": card.digest,
        "batchable": card.batchable,
    }


def _tensor(spec: Any) -> str:
    return f"{spec.name} {spec.dtype}[{', '.join('?' if axis is None else str(axis) for axis in spec.shape)}]"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return jsons.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
