"""`POST /predict` through a real server, with a real photograph and the shipped models."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
import simplejpeg
from PIL import Image
from tests.serve.conftest import write_case
from tests.servers import RunningServer, serving

PHOTO = (Path(__file__).parents[1] / "data/photos/german-shepherd.jpg").read_bytes()
DARK = "stages: {validation: {usable: {use: frame-check, darkest: 200}}, analytics: {light: {use: brightness}}}\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("server")
    write_case(folder, "picky", DARK)
    write_case(
        folder,
        "slow",
        "stages: {analytics: {wait: {use: Wait}}}\n",
        plugins="import os\n"
        "import time\n"
        "from dataclasses import dataclass\n"
        "from sightline.core.plugins import Predictor\n"
        "from sightline.core.prediction import Scalar\n"
        "@dataclass(kw_only=True)\n"
        "class Wait(Predictor):\n"
        "    def predict(self, samples):\n"
        "        with open(r'" + str(folder / "began") + "', 'a') as file:\n"
        "            file.write('x')\n"
        "        end_s = time.monotonic() + 60\n"
        "        while not os.path.exists(r'" + str(folder / "go") + "') and time.monotonic() < end_s:\n"
        "            time.sleep(0.01)\n"
        "        return [Scalar(name='waited', value=1.0) for _ in samples]\n",
    )
    with serving(folder, server__threads=2) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, timeout=30) as made:
        yield made


def best(answer: httpx2.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["predictions"]["model"]["items"][0]["class_name"])


def in_format(name: str, **how: Any) -> bytes:
    data = io.BytesIO()
    with Image.open(io.BytesIO(PHOTO)) as picture:
        picture.save(data, name, **how)
    return data.getvalue()


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "bmp"])
def test_a_raw_picture_is_answered_with_typed_predictions(client: httpx2.Client, name: str) -> None:
    answer = client.post("/predict", content=in_format(name), headers={"Content-Type": f"image/{name}"})

    assert best(answer) == "German shepherd"
    wire = answer.json()
    assert (wire["schema"], wire["source"], wire["size"], wire["rejected"]) == (1, "request", [320, 240], None)
    assert wire["predictions"]["model"]["type"] == "labels"
    assert wire["predictions"]["model"]["model"] == "efficientnet-lite0@1"


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/octet-stream"}])
def test_bytes_of_which_nothing_is_said_are_looked_at(client: httpx2.Client, headers: dict[str, str]) -> None:
    assert best(client.post("/predict", content=PHOTO, headers=headers)) == "German shepherd"


@pytest.mark.parametrize("field", ["file", "image", "upload"])
def test_a_form_is_taken(client: httpx2.Client, field: str) -> None:
    answer = client.post("/predict", files={field: ("dog.jpg", PHOTO, "image/jpeg")}, data={"top_k": "2"})

    assert best(answer) == "German shepherd"
    assert len(answer.json()["predictions"]["model"]["items"]) == 2


@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,", "data:;base64,"])
def test_json_with_base64_or_a_data_url_is_taken(client: httpx2.Client, prefix: str) -> None:
    body = {"image": prefix + base64.b64encode(PHOTO).decode(), "top_k": 1, "threshold": 0.5}

    answer = client.post("/predict", json=body)

    assert best(answer) == "German shepherd"
    assert len(answer.json()["predictions"]["model"]["items"]) == 1


def test_a_model_is_asked_as_if_it_were_a_case(client: httpx2.Client) -> None:
    answer = client.post("/predict?model=nanodet-m&threshold=0.5", content=PHOTO)
    strict = client.post("/predict", params={"model": "nanodet-m", "threshold": 0.99}, content=PHOTO)

    assert best(answer) == "dog"
    assert strict.json()["predictions"]["model"]["items"] == []


def test_a_case_of_readings_says_that_it_takes_no_pictures(client: httpx2.Client) -> None:
    for body in ({"content": PHOTO, "headers": {"Content-Type": "image/jpeg"}}, {"files": {"file": PHOTO}}):
        answer = client.post("/predict?case=sensor_anomaly", **body)
        assert (answer.status_code, answer.json()["code"]) == (415, "wrong_media_type")
        assert "takes readings, no pictures" in answer.json()["detail"]
        assert "text/csv" in answer.json()["cure"]


def test_a_case_of_several_predictors_answers_with_all_of_them(client: httpx2.Client) -> None:
    answer = client.post("/predict?case=street_people", content=PHOTO)

    assert list(answer.json()["predictions"]) == ["usable", "found", "people", "pavement", "square"]
    assert answer.json()["case"] == "street_people"


def test_a_rejected_picture_is_told_with_the_reason(client: httpx2.Client) -> None:
    answer = client.post("/predict?case=picky", content=PHOTO)

    assert (answer.status_code, answer.json()["code"]) == (422, "rejected")
    assert "'usable' in the stage validation: too dark" in answer.json()["detail"]


def test_the_drawn_picture_comes_when_it_is_asked_for(client: httpx2.Client) -> None:
    answer = client.post("/predict?model=nanodet-m", content=PHOTO, headers={"Accept": "image/jpeg, */*;q=0.1"})
    plain = simplejpeg.decode_jpeg(PHOTO)
    drawn = simplejpeg.decode_jpeg(answer.content)

    assert answer.headers["content-type"] == "image/jpeg"
    assert drawn.shape == plain.shape
    assert (abs(drawn.astype(int) - plain.astype(int)).max(axis=2) > 80).sum() > 300  # a box and its name


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html,*/*;q=0.8", "image/jpeg;q=0.1, */*"])
def test_json_comes_otherwise(client: httpx2.Client, accept: str) -> None:
    answer = client.post("/predict", content=PHOTO, headers={"Accept": accept})

    assert answer.headers["content-type"] == "application/json"


def test_the_times_are_told(client: httpx2.Client) -> None:
    timing = client.post("/predict", content=PHOTO).headers["server-timing"]

    assert [entry.partition(";")[0] for entry in timing.split(", ")] == ["queue", "decode", "inference", "encode"]


@pytest.fixture
def go(server: RunningServer) -> Iterator[Path]:
    """A file without which the slow case never answers."""
    file = server.platform.context.loaded.folder / "go"
    file.unlink(missing_ok=True)
    yield file
    file.touch()


@pytest.mark.usefixtures("go")
def test_a_request_that_takes_too_long_is_given_up(client: httpx2.Client) -> None:
    answer = client.post("/predict?case=slow", content=PHOTO, headers={"X-Request-Timeout-Ms": "100"})

    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")


def test_the_work_of_a_caller_who_left_is_dropped(server: RunningServer, client: httpx2.Client, go: Path) -> None:
    began = server.platform.context.loaded.folder / "began"
    before = len(began.read_text()) if began.exists() else 0

    def ask(_: int) -> None:
        with httpx2.Client(base_url=server.url, timeout=0.2) as impatient, pytest.raises(httpx2.TimeoutException):
            impatient.post("/predict?case=slow", content=PHOTO)

    with ThreadPoolExecutor(8) as callers:  # two threads work, six callers leave before their turn
        list(callers.map(ask, range(8)))
    end_s = time.monotonic() + 30
    while server._server.server_state.connections:
        assert time.monotonic() < end_s, "it does not see that they have left"
        time.sleep(0.02)
    assert client.get("/livez").status_code == 200  # by now it has been told to the work too
    go.touch()
    assert client.post("/predict?case=slow", content=PHOTO).status_code == 200  # behind all that waited

    assert len(began.read_text()) - before <= 2 + 1


def test_equal_requests_get_the_answer_that_was_given(tmp_path: Path) -> None:
    with serving(tmp_path, models__cache_mb=4) as server, httpx2.Client(base_url=server.url, timeout=30) as client:

        def asked(query: str = "", data: bytes = PHOTO, **headers: str) -> str:
            answer = client.post(f"/predict{query}", content=data, headers=headers)
            assert answer.status_code == 200
            return str(answer.headers.get("x-cache"))

        assert [asked(), asked()] == ["miss", "hit"]
        assert [asked("?top_k=2"), asked("?top_k=2")] == ["miss", "hit"]
        assert asked("?model=nanodet-m") == "miss"
        assert asked(data=in_format("png")) == "miss"
        assert asked(Accept="image/jpeg") == "miss"
        assert asked("?case=street_people") == "None"  # it counts people over time


def test_a_swapped_model_never_gives_the_answer_of_the_old_one(tmp_path: Path) -> None:
    with serving(tmp_path, models__cache_mb=4) as server, httpx2.Client(base_url=server.url, timeout=30) as client:
        registry = server.platform.context.registry
        located = registry.locate("efficientnet-lite0")
        first = registry.add(located.path, located.card)
        answers = [client.post("/predict", content=PHOTO) for _ in range(2)]
        assert [answer.headers["x-cache"] for answer in answers] == ["miss", "hit"]

        labels = tuple(f"other {name}" for name in located.card.labels)
        second = registry.add(located.path, type(located.card)(**{**vars(located.card), "labels": labels}))
        registry.promote("efficientnet-lite0", "production", second.version)
        server.platform.context.sessions.refresh()
        swapped = client.post("/predict", content=PHOTO)

    assert (first.version, second.version) == ("1", "2")
    assert (best(answers[1]), best(swapped)) == ("German shepherd", "other German shepherd")
    assert swapped.headers["x-cache"] == "miss"
