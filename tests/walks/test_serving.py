"""A photograph on its way: HTTP, predictors, sessions, ONNX Runtime, JSON; and what is written down of it."""

from __future__ import annotations

import time
from pathlib import Path

import httpx2
from tests.servers import RunningServer, serving

import sightline
from sightline.core.access import RequestRow
from sightline.core.prediction import Labels

PHOTO = Path(__file__).parents[1] / "data/photos/german-shepherd.jpg"


def row_of(server: RunningServer, request_id: str) -> RequestRow:
    """Return what the database has of a request; it is written in batches, a moment later."""
    end_s = time.monotonic() + 40
    while True:
        rows = [row for _, row in server.platform.context.store.requests.list() if row.id == request_id]
        if rows:
            assert len(rows) == 1
            return rows[0]
        assert time.monotonic() < end_s, "the request is not in the database"
        time.sleep(0.05)


def test_a_photograph_goes_in_and_the_same_comes_out_as_in_process(tmp_path: Path) -> None:
    data = PHOTO.read_bytes()
    with serving(tmp_path) as server, httpx2.Client(base_url=server.url, timeout=30) as client:
        headers = {"Content-Type": "image/jpeg", "X-Request-Id": "walk-1"}
        answer = client.post("/predict?model=efficientnet-lite0&top_k=5", content=data, headers=headers)
        numbers = client.get("/metrics").text
        row = row_of(server, "walk-1")

    assert answer.status_code == 200, answer.text
    seen = answer.json()
    assert seen["size"] == [320, 240]

    expected = sightline.load_model("efficientnet-lite0", top_k=5).predict(PHOTO)
    assert isinstance(expected, Labels)
    items = seen["predictions"]["model"]["items"]
    assert [item["class_name"] for item in items] == list(expected.class_name)
    assert [item["class_id"] for item in items] == expected.class_id.tolist()
    assert [item["confidence"] for item in items] == [round(float(each), 4) for each in expected.confidence]
    assert items[0]["class_name"] == "German shepherd"
    assert seen["predictions"]["model"]["model"] == expected.model == "efficientnet-lite0@1"

    assert answer.headers["x-request-id"] == "walk-1"
    spans = dict(part.strip().split(";dur=") for part in answer.headers["server-timing"].split(","))
    assert set(spans) == {"queue", "decode", "inference", "encode"}
    assert float(spans["inference"]) > 0

    assert (row.method, row.route, row.status) == ("POST", "/predict", 200)
    assert (row.model, row.case) == ("efficientnet-lite0@1", "efficientnet-lite0")
    assert (row.bytes_in, row.bytes_out) == (len(data), len(answer.content))
    assert row.latency_ms >= sum(float(spent) for spent in spans.values()) * 0.9

    for line in (
        'sightline_requests_total{method="POST",route="/predict",status="200"} 1.0',
        'sightline_request_seconds_count{route="/predict"} 1.0',
        'sightline_request_span_seconds_count{route="/predict",span="inference"} 1.0',
        'sightline_model_batch_rows_count{model="efficientnet-lite0@1"} 1.0',
    ):
        assert line in numbers.splitlines(), line
