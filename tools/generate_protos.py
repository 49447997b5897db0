"""Write `protos.binpb`, what `sightline.serve.rpc` knows of its messages, from the .proto files beside it.

Needs grpcio-tools, which is no dependency of Sightline, as it pins another protobuf:

    python3 -m venv /tmp/protos && /tmp/protos/bin/pip install grpcio-tools
    /tmp/protos/bin/python tools/generate_protos.py
"""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "src/sightline/serve/rpc/protos"


def generate(target: Path) -> int:
    """Write the descriptors of all .proto files, with what they import, to `target`; return protoc's exit code."""
    from grpc_tools import protoc  # its own virtual environment has it

    # The well-known types of Google stand beside the compiler.
    google = Path(protoc.__file__).parent / "_proto"
    names = sorted(path.name for path in FOLDER.glob("*.proto"))
    code: int = protoc.main(
        ["protoc", f"-I{FOLDER}", f"-I{google}", f"--descriptor_set_out={target}", "--include_imports", *names]
    )
    return code


if __name__ == "__main__":
    sys.exit(generate(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / "protos.binpb"))
