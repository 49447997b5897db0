"""`run_inference` against a real server: waits as long as it takes, joins a job, and tells why one failed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serve.medical.tiny import write_letters
from tests.servers import RunningServer, serving

from sightline import compat
from sightline.client import AsyncClient, Client, InferenceRequest
from sightline.core.errors import Conflict, DeadlineExceeded, InvalidInput, JobFailed, NotFound


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder: Path = tmp_path_factory.mktemp("inference")
    write_letters(folder)
    with serving(folder, medical__case="letters", medical__wait_s=0.3) as running:
        for name, text in {"scan": "abcd", "broken": "broken", "slow": "sleep 3"}.items():
            running.platform.context.artifacts.put(f"uploads/{name}.txt", text.encode())
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with Client(server.url, timeout_s=20) as made:
        yield made


def test_the_result_names_every_file(client: Client) -> None:
    found = client.run_inference(InferenceRequest(job_uuid="whole", input_object="uploads/scan.txt", threshold=0.25))
    assert (found.status, found.is_over) == ("completed", True)
    assert found.output_object == "results/analysis_whole.nii.gz"
    assert found.files == {"json": "results/analysis_whole.json", "xlsx": "results/analysis_whole.xlsx"}
    assert found.file_size == len("mask fast_debug 0.25 : 4")
    assert found.duration_seconds > 0


def test_it_waits_longer_than_the_server_lets_anybody_wait_or_not_at_all(client: Client) -> None:
    slow = InferenceRequest(job_uuid="slow", input_object="uploads/slow.txt")
    told = client.run_inference(slow, wait=False)
    assert not told.is_over
    with pytest.raises(DeadlineExceeded, match="slow"):
        client.run_inference(slow, timeout_s=0.5)
    found = client.run_inference(slow)
    assert (found.is_over, found.run) == (True, told.run)


def test_what_went_wrong_is_an_error_of_its_kind(client: Client) -> None:
    with pytest.raises(JobFailed, match="no scan") as failed:
        client.run_inference(InferenceRequest(job_uuid="broken", input_object="uploads/broken.txt"))
    assert failed.value.kind == "validation"
    with pytest.raises(NotFound, match="absent"):
        client.run_inference(InferenceRequest(job_uuid="absent", input_object="uploads/absent.txt"))
    with pytest.raises(InvalidInput, match="job_uuid"):
        client.run_inference(InferenceRequest(job_uuid="a b", input_object="uploads/scan.txt"))
    with pytest.raises(Conflict):
        client.run_inference(InferenceRequest(job_uuid="broken", input_object="uploads/scan.txt"))


def test_it_is_awaited_too_and_older_programs_find_the_name(server: RunningServer) -> None:
    async def ask() -> str:
        async with AsyncClient(server.url) as client:
            wish = compat.InferenceRequest(job_uuid="awaited", input_object="uploads/scan.txt")
            return (await client.run_inference(wish)).status

    assert asyncio.run(ask()) == "completed"
