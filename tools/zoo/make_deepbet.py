"""Make the nets of deepbet that the tests run: python tools/zoo/make_deepbet.py IN.onnx OUT.onnx --name deepbet.

IN is a net of PyPI deepbet 1.0.2 as torch exports it. OUT computes the same in float32, with its weights stored as
float16: half of the bytes. Beside the recipe `deepbet` or `deepbet-bbox` it needs no card.
"""

import argparse
from pathlib import Path

import onnx
from seal import seal
from weights import shrink

LICENCE = {
    "schema": "1",
    "version": "1",
    "task": "volume-segmentation",
    "licence": "MIT",
    "source": "PyPI package deepbet 1.0.2 (Medical Machine Learning Lab, University of Münster), turned into ONNX, "
    "weights as float16. Training data not documented there.",
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("original", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--weights", default="float16")
    args = parser.parse_args()
    args.out.write_bytes(seal(shrink(onnx.load(args.original), args.weights), {**LICENCE, "name": args.name}))
    print(f"{args.out}: {args.out.stat().st_size:,} bytes")
