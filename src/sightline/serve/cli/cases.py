"""`sightline list` and `sightline probe`: what there is, and what a camera sends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.serve.cli.session import print_json, session_of, show_problems

if TYPE_CHECKING:
    from sightline.build.catalog import Listed
    from sightline.build.folders import CasePlace
    from sightline.core.profiles import ProfileFile

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def list_(
    context: typer.Context,
    *,
    check: Annotated[bool, typer.Option("--check", help="Import each one and report what is broken.")] = False,
    json: AsJson = False,
) -> None:
    """List cases, plug-ins and profiles; no plug-in is imported, unless --check is given."""
    session = session_of(context)
    with session.errors():
        from sightline.build.catalog import Catalog
        from sightline.build.folders import list_cases
        from sightline.build.profiles import all_profiles

        loaded, catalog = session.settings(), Catalog()
        places = list_cases(loaded)
        listed = catalog.listed()
        profiles = all_profiles(loaded.settings, catalog, places)
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
                    "profiles": [
                        {
                            "name": each.name,
                            "title": each.title,
                            "origin": origin,
                            "path": str(each.path),
                            "hidden_by": "" if each.hidden_by is None else str(each.hidden_by),
                            "problem": "" if each.error is None else str(each.error),
                        }
                        for each, origin in profiles
                    ],
                    **({"problems": problems} if check else {}),
                }
            )
        else:
            _show(places, listed)
            _show_profiles(profiles)
            if check:
                typer.echo("")
                show_problems(problems)
                typer.echo(f"problems: {len(problems)}" if problems else "all can be loaded")
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
        from sightline.build.replacing import source_entry

        entry = source_entry(url, fps=fps)
        source = build.plugin("sources", entry.pop("use"), **entry)
        source.open(build.world(source="probe"))
        try:
            facts = dict(source.probe())
        finally:
            source.close()
        if json:
            print_json(facts)
            return
        advice = facts.pop("advice", [])
        _show_facts(facts)
        if advice:
            typer.echo("\nAdvice")
        for sentence in advice:
            typer.echo(f"- {sentence}")


def _show_facts(facts: Mapping[str, Any], indent: str = "") -> None:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            typer.echo(f"{indent}{name}")
            _show_facts(value, indent + "  ")
        else:
            typer.echo(f"{indent}{name:<{24 - len(indent)}} {_shown(value)}")


def _show(places: list[CasePlace], listed: list[Listed]) -> None:
    typer.echo("Cases")
    width = max((len(place.name) for place in places), default=0)
    for place in places:
        hidden = f"  (hidden by {place.hidden_by})" if place.hidden_by else ""
        typer.echo(f"  {place.name:<{width}}  {place.origin}{hidden}")
    width = max((len(plugin.name) for plugin in listed), default=0)
    packages = max((len(_package(plugin)) for plugin in listed), default=0)
    for kind in dict.fromkeys(plugin.kind for plugin in listed):
        typer.echo(f"\n{kind.capitalize()}")
        for plugin in listed:
            if plugin.kind == kind:
                typer.echo(f"  {plugin.name:<{width}}  {_package(plugin):<{packages}}  {plugin.target}")


def _show_profiles(profiles: list[tuple[ProfileFile, str]]) -> None:
    if not profiles:
        return
    typer.echo("\nProfiles")
    name = max(len(each.name) for each, _ in profiles)
    place = max(len(origin) for _, origin in profiles)
    for each, origin in profiles:
        said = f"broken: {each.error}" if each.error is not None else each.title
        hidden = f"  (hidden by {each.hidden_by})" if each.hidden_by is not None else ""
        typer.echo(f"  {each.name:<{name}}  {origin:<{place}}  {said}{hidden}".rstrip())


def _package(plugin: Listed) -> str:
    return f"{plugin.package}[{plugin.extra}]" if plugin.extra else plugin.package


def _shown(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
