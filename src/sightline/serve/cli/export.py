"""`sightline export`: captures as a data set for labelling and training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightline.serve.cli.session import print_json, session_of


def export(
    context: typer.Context,
    place: Annotated[
        str, typer.Argument(metavar="FROM", help="Folder of captures, or a prefix of the artifact store.")
    ],
    *,
    format_: Annotated[str, typer.Option("--format", metavar="coco|yolo", help="Form of the data set.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the data set; empty or not there.")],
    split: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share for training, the rest is for validation.")
    ] = 1.0,
    classes: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these classes, in this order; default: those found.")
    ] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Leave out boxes with less confidence.")] = 0.0,
    of: Annotated[
        str, typer.Option(metavar="KEY", help="Predictor whose boxes are taken; default: the last with boxes.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write captures as a data set, with what was predicted as labels to begin with."""
    session = session_of(context)
    with session.errors(), session.build() as build:
        from sightline.build.capturing import export_captures

        names = tuple(name.strip() for name in (classes or "").split(",") if name.strip())
        found = export_captures(build, place, format_, out, split=split, classes=names, threshold=threshold, of=of)
        if json:
            print_json(found)
            return
        parts = f" ({found['train']} train, {found['val']} val)" if found["val"] else ""
        typer.echo(f"{found['pictures']} pictures{parts}, {found['boxes']} boxes, in {found['out']}")
        typer.echo(f"classes: {', '.join(found['classes']) or 'none'}")
        for name, num in found["others"].items():
            typer.echo(f"left out: {num} boxes of the class {name}")
        for reason, num in found["dropped"].items():
            typer.echo(f"left out: {num} {reason}")
