"""What Sightline costs over the work itself, side by side in one run: `make bench`.

Bare is what nobody can leave out: PyAV decodes the frames of the street clip, swscale makes them bgr24, and ONNX
Runtime (one thread a call, no spinning, as in the pipeline) runs on tensors that were prepared before the clock
started. The pipeline is the case `street_people`: frame check, preprocessing, detector, decoding of its outputs, NMS,
tracker, line and zone counters, and its sinks. CPU seconds are those of the whole process, user and system; each
measurement is a process of its own, imports and the opening of the model excluded; passes are interleaved and the
median is taken.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.page import RESULTS, page

ROOT = Path(__file__).parents[1]
CLIP = ROOT / "src/sightline/cases/street_people/street.mp4"
MODEL = ROOT / "src/sightline/zoo/nanodet-m.onnx"
PASSES = 3  # over the clip within one process
SINKS = {"sinks": "jsonl, database, bus", "video": "and drawn video"}


def bare() -> float:
    """Return CPU seconds per frame of decoding, converting and running the net."""
    import av
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])
    tensors = _tensors()

    def once() -> int:
        with av.open(str(CLIP)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            stream.codec_context.thread_count = 1
            for number, frame in enumerate(container.decode(stream)):
                frame.to_ndarray(format="bgr24", interpolation="AREA")
                session.run(None, {"images": tensors[number]})
            return number + 1

    return _cpu_per_frame(once)


def pipeline(sinks: str) -> float:
    """Return CPU seconds per frame of the case `street_people` with some of its sinks."""
    from dataclasses import replace

    from sightline import CaseBuildContext, load_case, run
    from sightline.serve.logs import set_up_log
    from sightline.settings import load_settings

    set_up_log("warning", as_json=True)
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_settings(folder=Path(folder), environ={"SIGHTLINE_DATA_ROOT": folder})
        with CaseBuildContext(loaded) as context:
            case = load_case("street_people", context=context)
            names = {"none": (), "sinks": ("JsonlSink", "DatabaseSink", "BusSink")}.get(sinks)
            kept = tuple(sink for sink in case.sinks if names is None or type(sink).__name__ in names)
            case = replace(case, sinks=kept)

            def once() -> int:
                status = run(case, context=context).run.status
                return int(status["sources"]["main"]["processed"])

            return _cpu_per_frame(once)


def _tensors() -> list[Any]:
    """Return the tensors that the detector makes of the clip's frames."""
    import av
    import numpy as np

    from sightline.build import CaseBuildContext
    from sightline.packs.vision.preprocess import Preprocessor

    with CaseBuildContext() as context:
        preprocessor = Preprocessor(context.registry.locate("nanodet-m").card)
    with av.open(str(CLIP)) as container:
        pictures = (
            frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False) for frame in container.decode(video=0)
        )
        return [preprocessor.prepare(picture)[0] for picture in pictures]


def _cpu_per_frame(once: Callable[[], int]) -> float:
    once()  # opens models, files and the database
    begin, frames = time.process_time(), 0
    for _ in range(PASSES):
        frames += once()
    return (time.process_time() - begin) / frames


def wall_s(*command: str) -> float:
    """Return the wall seconds of a command, the best of five: what the machine else does only adds."""
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        times.append(time.perf_counter() - begin)
    return min(times)


def import_s() -> float:
    """Return the wall seconds of `import sightline`, best of five, in a process of its own each time."""
    code = "import time; b = time.perf_counter(); import sightline; print(time.perf_counter() - b)"
    runs = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True) for _ in range(5)]
    return min(float(done.stdout) for done in runs)


def _child(what: str) -> float:
    command = [sys.executable, "-m", "benchmarks.pipeline", "--child", what]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.split()[-1])


def main() -> None:
    """Measure, print the table, and write it below `benchmarks/results`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-write", action="store_true", help="print only")
    arguments = parser.parse_args()
    if arguments.child:
        print(bare() if arguments.child == "bare" else pipeline(arguments.child))
        return

    kinds = ("bare", "none", "sinks", "video")
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(arguments.rounds):
        for kind in kinds:
            found[kind].append(_child(kind))
    # Each round's own ratio, so that a slow minute of the machine weighs on both sides of it.
    ratio = {kind: statistics.median(a / b for a, b in zip(found[kind], found["bare"], strict=True)) for kind in kinds}
    ms = {kind: 1000 * statistics.median(values) for kind, values in found.items()}
    script = Path(sys.executable).with_name("sightline")
    help_s, imported_s = wall_s(str(script), "--help"), import_s()
    rows = [
        ("bare: decode + swscale + ONNX Runtime, CPU per frame", f"{ms['bare']:.2f} ms", "1.00", ""),
        ("street_people without sinks", f"{ms['none']:.2f} ms", f"{ratio['none']:.3f}", "1.10"),
        (f"street_people with {SINKS['sinks']}", f"{ms['sinks']:.2f} ms", f"{ratio['sinks']:.3f}", ""),
        (f"street_people {SINKS['video']} (drawn and encoded)", f"{ms['video']:.2f} ms", f"{ratio['video']:.3f}", ""),
        ("sightline --help, wall", f"{help_s:.3f} s", "", "0.30 s"),
        ("import sightline, wall", f"{imported_s:.3f} s", "", "0.10 s"),
    ]
    note = ". How it is measured stands at the top of `benchmarks/pipeline.py`."
    text = page("Pipeline over bare work", "make bench", note, ("what", "measured", "over bare", "target"), rows)
    print(text)
    if not arguments.no_write:
        passes = {kind: [round(1000 * value, 2) for value in values] for kind, values in found.items()}
        text += f"\nCPU ms per frame of each round: `{json.dumps(passes)}`\n"
        (RESULTS / "pipeline.md").write_text(text)


if __name__ == "__main__":
    main()
