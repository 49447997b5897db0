"""Write the OpenAPI document of the server: python tools/generate_openapi.py.

`document()` gives its text, so that a test can compare it with what is committed.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from sightline.build.context import CaseBuildContext
from sightline.core.codec import to_json
from sightline.serve.api import make_api
from sightline.serve.platform import Platform
from sightline.settings import load_settings

PLACE = Path(__file__).resolve().parents[1] / "docs/reference/openapi.json"


def document() -> str:
    """Return the document as it is committed."""
    with TemporaryDirectory() as folder:
        context = CaseBuildContext(load_settings(folder=Path(folder), environ={"SIGHTLINE_DATA_ROOT": folder}))
        try:
            return to_json(make_api(Platform(context)).openapi(), indent=True).decode() + "\n"
        finally:
            context.close()


if __name__ == "__main__":
    PLACE.write_text(document(), encoding="utf-8")
    print(PLACE)
