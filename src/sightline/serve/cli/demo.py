"""`sightline demo`: two live cameras in the browser, one of them faulty; with --headless a count in the terminal."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.serve.cli.run import AsJson, Duration, run_shipped
from sightline.serve.cli.serve import end_process, serve_until_told
from sightline.serve.cli.session import session_of

if TYPE_CHECKING:
    from sightline.build import CaseBuildContext
    from sightline.serve.cli.demo_camera import FaultyCamera
    from sightline.serve.platform import Platform

CASE = "street_people"
_PORT = 8000
_ON_S, _OFF_S = 40.0, 8.0


def demo(
    context: typer.Context,
    *,
    headless: Annotated[
        bool, typer.Option("--headless", help="No server: count the people once, in the terminal.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the page; default: 8000, or a free one.")
    ] = None,
    duration: Duration = None,
    json: AsJson = False,
) -> None:
    """Watch a street video that ships with Sightline as two live cameras in the browser; people are counted.

    One of the cameras is switched off for some seconds every now and then, to show what then happens.
    """
    session = session_of(context)
    if headless or json or duration is not None:
        run_shipped(session, CASE, duration_s=duration, as_json=json)
        return
    with session.errors():
        chosen = _free(_PORT) if port is None else port
        # What the demo records goes with it: no later server shall take its run up.
        with TemporaryDirectory(prefix="sightline-demo-") as folder:
            given = {"server.port": chosen, "server.host": "127.0.0.1", "log.level": "warning", "data_root": folder}
            with session.build(given) as build:
                _serve(build)
        end_process()


def _serve(build: CaseBuildContext) -> None:
    from sightline.serve.cli.demo_camera import FaultyCamera

    camera = FaultyCamera(_clip(build), on_s=_ON_S, off_s=_OFF_S)
    camera.start()
    try:
        serve_until_told(build, [CASE], begin=partial(_begin, build=build, camera=camera))
    finally:
        camera.close()


def _begin(platform: Platform, url: str, *, build: CaseBuildContext, camera: FaultyCamera) -> None:
    """Start the run of the demo and say where to look."""
    from sightline.build.manifest import load_case
    from sightline.build.running import held_run

    case = load_case(CASE, context=build)
    street = build.plugin("sources", "video", url=str(_clip(build)), loop=True, realtime=True)
    gate = build.plugin("sources", "video", url=camera.url, timeout_s=3)
    sinks = (
        build.plugin("sinks", "bus"),
        build.plugin("sinks", "event-recorder", types=("line.*", "zone.*"), pre_s=3, post_s=3),
    )
    case = replace(case, sources={"street": street, "gate": gate}, sinks=sinks)
    platform.streams.start(lambda: held_run(case, build))
    typer.echo(f"Two cameras are live: {url}/")
    typer.echo(f"The camera `gate` is switched off for {_OFF_S:g} s every {_ON_S:g} s. Ctrl-C ends the demo.")


def _clip(build: CaseBuildContext) -> Path:
    from sightline.build.folders import find_case

    folder = find_case(build.loaded, CASE).folder
    return Path(folder or ".") / "street.mp4"


def _free(port: int) -> int:
    """Return the port, or 0 for any where it is taken."""
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port
