"""A photograph, and pictures as files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

PHOTO = (Path(__file__).parents[1] / "data/photos/german-shepherd.jpg").read_bytes()


def saved(picture: Image.Image, name: str, **how: Any) -> bytes:
    data = io.BytesIO()
    picture.save(data, name, **how)
    return data.getvalue()


def dog() -> Image.Image:
    with Image.open(io.BytesIO(PHOTO)) as picture:
        picture.load()
        return picture
