"""`sightline list` and `sightline probe`: what there is, and what a camera sends."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sightline.serve.cli.session import print_json, session_of

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def list_(
    context: typer.Context,
    *,
    check: Annotated[bool, typer.Option("--check", help="Import each one and report what is broken.")] = False,
    json: AsJson = False,
) -> None:
    """List cases and plug-ins; nothing is imported, unless --check is given."""
    session = session_of(context)
    with session.errors():
        from sightline.build.catalog import Catalog
        from sightline.build.folders import list_cases

        loaded = session.settings()
        places = list_cases(loaded)
        listed = Catalog().listed()
        problems: list[dict[str, str]] = []
        if check:
            from sightline.build.checking import check_all

            with session.build() as build:
                problems = check_all(build)
        if json:
            print_json(
                {
                    "cases": [
                        {"name": place.name, "where": place.shown, "origin": place.origin, "hidden_by": place.hidden_by}
                        for place in places
                    ],
                    "plugins": [vars(plugin) for plugin in listed],
                    **({"problems": problems} if check else {}),
                }
            )
        else:
            _show(places, listed)
            if check:
                _show_problems(problems)
        if problems:
            raise typer.Exit(1)


def probe(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="Camera, file or webcam index.")],
    *,
    fps: Annotated[float, typer.Option(min=0.01, help="Rate that is wanted, for the advice.")] = 2.0,
    json: AsJson = False,
) -> None:
    """Tell what a camera or file sends, what decoding it costs, and how to make it cheaper."""
    session = session_of(context)
    with session.errors(), session.build() as build:
        source = build.plugin("sources", "video", url=url, fps=fps)
        source.open(build.world(source="probe"))
        try:
            facts = dict(source.probe())
        finally:
            source.close()
        if json:
            print_json(facts)
            return
        advice = facts.pop("advice", [])
        for name, value in facts.items():
            if isinstance(value, dict):
                typer.echo(f"{name}:")
                for inner, number in value.items():
                    typer.echo(f"  {inner:<22} {_shown(number)}")
            else:
                typer.echo(f"{name:<24} {_shown(value)}")
        for sentence in advice:
            typer.echo(f"- {sentence}")


def _show(places: list[Any], listed: list[Any]) -> None:
    typer.echo("Cases")
    for place in places:
        hidden = f"  (hidden by {place.hidden_by})" if place.hidden_by else ""
        typer.echo(f"  {place.name:<26} {place.origin}{hidden}")
    for kind in dict.fromkeys(plugin.kind for plugin in listed):
        typer.echo(f"\n{kind.capitalize()}")
        for plugin in listed:
            if plugin.kind == kind:
                extra = f" [{plugin.extra}]" if plugin.extra else ""
                typer.echo(f"  {plugin.name:<26} {plugin.package}{extra}  {plugin.target}")


def _show_problems(problems: list[dict[str, str]]) -> None:
    typer.echo("")
    for problem in problems:
        typer.echo(f"broken: {problem['what']}: {problem['message']}", err=True)
        if problem["cure"]:
            typer.echo(f"  cure: {problem['cure']}", err=True)
    typer.echo(f"{len(problems)} broken" if problems else "all can be loaded")


def _shown(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
