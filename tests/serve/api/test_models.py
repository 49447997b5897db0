"""Models over HTTP: made of a description and a file, pointed at by aliases, split, shadowed, loaded."""

from __future__ import annotations

import base64
import pickle
from typing import Any

import httpx2
import numpy as np
import pytest
from tests.serve.api.conftest import problem, soon
from tests.servers import RunningServer

from sightline.build.folders import SHIPPED

ZOO = SHIPPED.parent / "zoo"
FILE = ZOO / "nanodet-m.onnx"
COPY = {"model": "efficientnet-lite0"}


def make(http: httpx2.Client, name: str, **config: Any) -> httpx2.Response:
    return http.post("/models", json={"name": name, "file": COPY, **config})


def test_a_json_description_makes_a_model(http: httpx2.Client) -> None:
    made = make(http, "mine", title="Ours", labels=["a", None, "c"], aliases=["production", "candidate"])
    assert made.status_code == 201, made.text
    assert made.headers["location"] == "/api/v1/models/mine/versions/1"
    card = made.json()
    assert (card["name"], card["version"], card["title"], card["labels"]) == ("mine", "1", "Ours", ["a", None, "c"])
    assert card["task"] == "image-classification"
    assert card["inputs"][0]["shape"] == ["n", 3, 224, 224]
    again = make(http, "mine", title="Ours", labels=["a", None, "c"])
    assert (again.status_code, again.json()["version"]) == (200, "1")
    assert make(http, "mine", title="Newer").json()["version"] == "2"
    shown = http.get("/models/mine").json()
    assert (shown["version"], shown["versions"]) == ("1", ["2", "1"])
    assert {each["alias"] for each in shown["moved"]} == {"production", "candidate"}
    assert http.get("/models/mine/versions/2").json()["title"] == "Newer"


@pytest.mark.parametrize("form", ["upload", "base64"])
def test_a_file_is_sent_along(http: httpx2.Client, form: str) -> None:
    data = FILE.read_bytes()
    if form == "upload":
        files, config = {"file": ("any name", data)}, {"config": '{"name": "uploaded", "licence": "MIT"}'}
        made = http.post("/models", files=files, data=config)
    else:
        file = {"base64": base64.b64encode(data).decode()}
        made = http.post("/models", json={"name": "encoded", "licence": "MIT", "file": file})
    assert made.status_code == 201, made.text
    assert (made.json()["licence"], made.json()["task"]) == ("MIT", "object-detection")


def test_what_is_no_model_is_refused_and_leaves_nothing(server: RunningServer, http: httpx2.Client) -> None:
    def refused(status: int, code: str, **config: Any) -> str:
        detail: str = problem(http.post("/models", json={"name": "bad", **config}), status, code)["detail"]
        return detail

    def encoded(data: bytes) -> dict[str, str]:
        return {"base64": base64.b64encode(data).decode()}

    assert "pickle" in refused(400, "invalid_model", file=encoded(pickle.dumps({"weights": [1, 2]})))
    assert refused(400, "invalid_model", file=encoded(b"\0" * 100))
    assert refused(400, "invalid_model", file=encoded(FILE.read_bytes()[:50_000]))
    assert "base64" in refused(400, "invalid_input", file={"base64": "***"})
    assert "one of" in refused(400, "invalid_input", file={"base64": "AA==", "model": "nanodet-m"})
    assert "needs one file" in refused(400, "invalid_input")
    assert "tsak" in refused(400, "invalid_input", tsak="x", file=COPY)
    assert "task" in refused(400, "invalid_input", task="telepathy", file=COPY)
    assert refused(404, "model_not_found", file={"model": "nowhere"})
    assert refused(404, "not_found", file={"artifact": "models/nowhere.onnx"})
    assert refused(400, "invalid_input", file={"artifact": "../../secret"})
    assert refused(400, "invalid_input", name="../x", file=COPY)
    problem(http.post("/models", content=b"x", headers={"content-type": "text/plain"}), 415, "wrong_media_type")
    problem(http.post("/models", files={"other": b"x"}), 400, "invalid_input")
    too_large = http.post("/models", files={"file": b"\0" * (17 << 20)}, data={"config": '{"name": "bad"}'})
    problem(too_large, 413, "too_large")
    assert "bad" not in {model.name for model in server.platform.context.store.models.list()}


def test_whoever_may_do_all_names_a_path_of_the_server(http: httpx2.Client) -> None:
    here = {"name": "here", "file": {"path": str(FILE)}}
    assert http.post("/models", json=here).status_code == 201  # on loopback nobody has to say who they are


def test_a_version_is_removed_unless_it_is_needed(http: httpx2.Client) -> None:
    for title in ("one", "two", "three"):
        assert make(http, "passing", title=title).status_code == 201
    http.post("/models/passing/aliases/production", json={"version": "1"})
    assert http.post("/models/passing@2/load").status_code == 200
    assert http.delete("/models/passing/versions/2").status_code == 204
    assert http.get("/models/passing").json()["versions"] == ["3", "1"]
    problem(http.get("/models/passing/versions/2"), 404, "model_not_found")
    problem(http.delete("/models/passing/versions/2"), 404, "model_not_found")
    problem(http.delete("/models/passing/versions/1"), 409, "conflict")
    problem(http.delete("/models/nanodet-m/versions/1"), 409, "conflict")
    assert make(http, "passing", title="four").json()["version"] == "4"


def test_a_version_for_another_task_is_refused_unless_it_is_forced(http: httpx2.Client) -> None:
    assert make(http, "turning").status_code == 201
    other = {"name": "turning", "file": {"model": "nanodet-m"}}
    problem(http.post("/models", json=other), 409, "conflict")
    assert http.post("/models", json={**other, "force": True}).json()["version"] == "2"


def test_a_preset_that_nobody_knows_is_refused(http: httpx2.Client) -> None:
    document = problem(make(http, "mine", preset="bogus"), 400, "invalid_input")
    assert "torchvision" in document["detail"]
    assert "--" not in document["cure"]


def test_an_alias_moves_only_from_where_it_is_expected(http: httpx2.Client) -> None:
    for title in ("one", "two"):
        make(http, "moved", title=title)
    where = "/models/moved/aliases/stable"
    problem(http.get(where), 404, "model_not_found")
    assert http.post(where, json={"version": "1", "expected": None}).json()["version"] == "1"
    problem(http.post(where, json={"version": "2", "expected": None}), 409, "conflict")
    problem(http.post(where, json={"version": "2", "expected": "2"}), 409, "conflict")
    moved = http.post(where, json={"version": "2", "expected": "1"}).json()
    assert [move["version"] for move in moved["history"]] == ["2", "1"]
    assert http.post(where, json={"version": "1"}).json()["version"] == "1"
    problem(http.post(where, json={"version": "9"}), 404, "model_not_found")
    problem(http.post("/models/moved/aliases/7", json={"version": "1"}), 400, "invalid_input")
    problem(http.post("/models/nanodet-m/aliases/stable", json={"version": "1"}), 404, "model_not_found")
    types = [event["type"] for event in http.get("/events", params={"type": "model.promoted"}).json()["items"]]
    assert types.count("io.sightline.model.promoted.v1") >= 3


def test_calls_are_split_and_copied(server: RunningServer, http: httpx2.Client) -> None:
    for title in ("one", "two"):
        make(http, "canary", title=title)
    http.post("/models/canary/aliases/production", json={"version": "1"})
    split = http.put("/models/canary/split", json={"weights": {"1": 3, "2": 1}})
    assert split.json() == {"model": "canary", "weights": {"1": 0.75, "2": 0.25}}
    assert http.get("/models/canary").json()["split"] == {"1": 0.75, "2": 0.25}
    assert http.delete("/models/canary/split").status_code == 204
    assert http.get("/models/canary/split").json()["weights"] == {}
    problem(http.put("/models/canary/split", json={"weights": {"1": -1}}), 400, "invalid_input")
    problem(http.put("/models/canary/split", json={"weights": {"9": 1}}), 404, "model_not_found")

    problem(http.get("/models/canary/shadow"), 404, "model_not_found")
    assert http.get("/models/canary").json()["shadow"] is False
    begun = http.post("/models/canary/shadow", json={"version": "2", "share": 1})
    assert http.get("/models/canary").json()["shadow"] is True
    assert (begun.status_code, begun.json()["candidate"]) == (201, "canary@2")
    handle = server.platform.models.handle("canary")
    for _ in range(3):
        handle.run({"images": np.zeros((1, 3, 224, 224), np.float32)})
    soon(lambda: http.get("/models/canary/shadow").json()["compared"] >= 1)
    assert http.get("/models/canary/shadow").json()["agreement"] == 1
    problem(http.post("/models/canary/shadow", json={"version": "1"}), 409, "conflict")
    assert http.delete("/models/canary/shadow").status_code == 204
    problem(http.get("/models/canary/shadow"), 404, "model_not_found")


def test_a_model_is_unloaded_and_loaded(http: httpx2.Client) -> None:
    make(http, "heavy")
    loaded = http.post("/models/heavy/load").json()
    assert [each["is_open"] for each in loaded["loaded"]] == [True]
    unloaded = http.post("/models/heavy/unload").json()
    assert (unloaded["unloaded"], [each["is_open"] for each in unloaded["loaded"]]) == (True, [False])
    shown = http.get("/models/heavy").json()
    assert shown["unloaded"]
    assert [each["is_open"] for each in shown["loaded"]] == [False]  # looking does not load
    assert http.post("/models/heavy/load").json()["unloaded"] is False
    problem(http.post("/models/nowhere/load"), 404, "model_not_found")


def test_models_are_listed_by_name(http: httpx2.Client) -> None:
    make(http, "listed", aliases=["production"])
    first = http.get("/models", params={"limit": 1}).json()
    rest = http.get("/models", params={"after": first["next"]}).json()
    models = {model["name"]: model for model in [*first["items"], *rest["items"]]}
    assert list(models) == sorted(models)
    assert {"efficientnet-lite0", "nanodet-m", "listed"} <= models.keys()
    assert models["listed"]["aliases"] == {"production": "1"}
    assert models["nanodet-m"]["versions"] == ["1"]
