"""`name@version`, as answers print it, names a model at every door of HTTP."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.serve.conftest import PHOTOS
from tests.servers import serving

PHOTO = (PHOTOS / "german-shepherd.jpg").read_bytes()
REF = "efficientnet-lite0@1"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with (
        serving(tmp_path_factory.mktemp("server")) as running,
        httpx2.Client(base_url=running.url, timeout=30) as made,
    ):
        yield made


def test_every_door_takes_it(client: httpx2.Client) -> None:
    picture = {"image": base64.b64encode(PHOTO).decode()}
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, 3, 224, 224], "data": [0.0] * 150528}
    answers = [
        client.post(f"/predict?model={REF}", content=PHOTO),
        client.post("/predict", files={"file": PHOTO}, data={"model": REF}),
        client.post("/forward", json={"model": REF, "inputs": picture}),
        client.get(f"/metadata?model={REF}"),
        client.get(f"/v2/models/{REF}"),
        client.get(f"/v2/models/{REF}/config"),
        client.get(f"/v2/models/{REF}/ready"),
        client.post(f"/v2/models/{REF}/infer", json={"inputs": [tensor], "outputs": [{"name": "logits"}]}),
        client.post(f"/v2/repository/models/{REF}/load"),
        client.get(f"/api/v1/models/{REF}"),
        client.post(f"/api/v1/models/{REF}/load"),
    ]
    assert [(str(each.url), each.status_code) for each in answers if each.status_code != 200] == []
    assert answers[7].json()["model_name"] == "efficientnet-lite0"


def test_a_version_that_is_not_there_or_not_meant_is_told(client: httpx2.Client) -> None:
    assert client.post("/predict?model=nanodet-m@7", content=PHOTO).status_code == 404
    assert client.get("/v2/models/nanodet-m@7").status_code == 404
    twice = client.get("/v2/models/nanodet-m@1/versions/2")
    assert (twice.status_code, twice.json()["code"]) == (400, "invalid_input")
    whole = client.post("/api/v1/models/nanodet-m@1/unload")
    assert (whole.status_code, "@1" in whole.json()["cure"]) == (400, True)


def test_a_file_is_none(tmp_path: Path, client: httpx2.Client) -> None:
    for name in (f"{tmp_path}/a.onnx@1", "a.onnx@1", "@1", "nanodet-m@"):
        assert client.get("/metadata", params={"model": name}).status_code in (400, 404)
