"""Series from a real archive and results into it; archives that misbehave."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, RLELossless
from tests.pacs import Pacs, orthanc

from sightline.core.codec import from_json
from sightline.core.errors import (
    Cancelled,
    ConfigError,
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    NotFound,
    StoreRefused,
    TooLarge,
    Unavailable,
)
from sightline.core.plugins import Context, Remote
from sightline.core.targets import Targets
from sightline.packs.medical.dicomweb import Archive
from sightline.packs.medical.sinks.stow import Stow
from sightline.packs.medical.sources.dicomweb import archive_of, fetched, place_of
from sightline.testing.fakes import make_context

STUDY, SERIES, OTHER = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.1.1", "1.2.826.0.1.3680043.8.498.1.2"


def dicom_slice(series: str, number: int, *, rle: bool = False) -> bytes:
    """Return a slice of noise as a DICOM file."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, f"{series}.{number}"
    data.StudyInstanceUID, data.SeriesInstanceUID = STUDY, series
    data.PatientID, data.PatientName, data.StudyID, data.Modality = "P1", "Phantom^Anna", "1", "MR"
    data.InstanceNumber, data.Rows, data.Columns = number, 32, 48
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelData = np.random.default_rng(number).integers(0, 4096, (32, 48), dtype=np.uint16).tobytes()
    if rle:
        data.compress(RLELossless, generate_instance_uid=False)
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


SLICES = [dicom_slice(SERIES, number, rle=number % 2 == 0) for number in range(1, 13)]


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    with orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        send(running, [*SLICES, dicom_slice(OTHER, 1)])
        yield running


def send(pacs: Pacs, files: list[bytes]) -> None:
    """Put files into the archive."""
    with closing(archive_of(context_of(pacs))) as archive:
        archive.store([(len(each), partial(io.BytesIO, each)) for each in files])


def context_of(pacs: Pacs, **fields: Any) -> Context:
    remote = Remote(url=pacs.url, user=pacs.user, password=pacs.password)
    return replace(make_context(), remotes={"dicomweb": remote}, **fields)


@pytest.mark.service("pacs")
class TestOrthanc:
    def test_a_series_comes_as_it_was_stored(self, pacs: Pacs) -> None:
        found = [(name, file.read()) for name, file in fetched(context_of(pacs), f"dicomweb:{STUDY}/{SERIES}")]

        assert [name for name, _ in found] == [f"{number:05}.dcm" for number in range(1, 13)]
        read = {data.SOPInstanceUID: data for data in (pydicom.dcmread(io.BytesIO(each)) for _, each in found)}
        sent = {data.SOPInstanceUID: data for data in (pydicom.dcmread(io.BytesIO(each)) for each in SLICES)}
        assert read.keys() == sent.keys()
        for uid, data in read.items():
            assert data.file_meta.TransferSyntaxUID == sent[uid].file_meta.TransferSyntaxUID
            assert data.PixelData == sent[uid].PixelData

    def test_a_study_comes_with_all_its_series(self, pacs: Pacs) -> None:
        found = [pydicom.dcmread(file) for _, file in fetched(context_of(pacs), f"dicomweb:{STUDY}")]
        assert {data.SeriesInstanceUID for data in found} == {SERIES, OTHER}
        assert len(found) == 13

    def test_an_address_in_full_is_the_same(self, pacs: Pacs) -> None:
        address = f"dicomweb:{pacs.url}/studies/{STUDY}/series/{OTHER}"
        open_ = {"dicomweb": Remote(readable=(pacs.url,))}
        stranger = replace(make_context(), reachable=("127.0.0.1",), remotes=open_)
        with pytest.raises(ConfigError, match="refuses us"):  # name and password are for the archive of the settings
            list(fetched(stranger, address))
        assert len(list(fetched(context_of(pacs), address))) == 1

    def test_what_is_not_there_is_told(self, pacs: Pacs) -> None:
        for address in (f"dicomweb:{STUDY}/1.2.3", "dicomweb:1.2.3"):
            with pytest.raises(NotFound, match="has nothing at"):
                list(fetched(context_of(pacs), address))

    def test_a_wrong_password_is_a_matter_of_settings(self, pacs: Pacs) -> None:
        with pytest.raises(ConfigError, match="refuses us") as caught:
            list(fetched(context_of(replace(pacs, password="wrong-one")), f"dicomweb:{STUDY}"))
        assert "wrong-one" not in str(caught.value)
        assert "medical.dicomweb.password" in caught.value.cure

    def test_more_than_is_taken_is_refused_while_it_comes(self, pacs: Pacs) -> None:
        def fetch(**limits: int) -> None:
            with closing(archive_of(context_of(pacs))) as archive:
                for _ in archive.fetch(f"/studies/{STUDY}", iter(io.BytesIO, None), **limits):
                    pass

        with pytest.raises(TooLarge, match="MiB"):
            fetch(most_bytes=20_000)
        with pytest.raises(TooLarge, match="More than 5 files"):
            fetch(most_files=5)

    def test_who_does_not_want_it_any_more_gets_nothing(self, pacs: Pacs) -> None:
        context = context_of(pacs)
        files = fetched(context, f"dicomweb:{STUDY}")
        context.stopping.set()
        with pytest.raises(Cancelled):
            list(files)

    def test_the_files_that_a_job_made_are_in_the_archive(self, pacs: Pacs) -> None:
        context = context_of(pacs, results="runs/7/1/result")
        artifacts = context.ports.artifacts
        series = f"{STUDY}.3"
        for word, number in (("seg", 1), ("sr", 2)):
            artifacts.put(f"runs/7/0/result.{word}.dcm", dicom_slice(series, number))
        artifacts.put("runs/7/0/result.json", b"{}")
        made = {"seg": "runs/7/0/result.seg.dcm", "sr": "runs/7/0/result.sr.dcm", "json": "runs/7/0/result.json"}
        for _ in range(2):  # a second attempt sends the same files
            sink = Stow()
            sink.open(replace(context, made=made))
            sink.write([])
            sink.close()

        assert sink.made == {"stow": "runs/7/1/result.stow.json"}
        with artifacts.open(sink.made["stow"]) as file:
            receipt = from_json(file.read())
        assert (receipt["files"], receipt["failed"]) == (2, [])
        assert {each["sop_uid"] for each in receipt["stored"]} == {f"{series}.1", f"{series}.2"}
        assert len(list(fetched(context_of(pacs), f"dicomweb:{STUDY}/{series}"))) == 2

    def test_what_is_no_dicom_file_is_refused_by_name(self, pacs: Pacs) -> None:
        context = context_of(pacs, results="runs/8/1/result")
        context.ports.artifacts.put("runs/8/1/result.dcm", b"no DICOM")
        sink = Stow()
        sink.open(replace(context, made={"seg": "runs/8/1/result.dcm"}))
        with pytest.raises(InvalidInput):
            sink.write([])


def test_a_job_without_dicom_files_leaves_an_empty_receipt() -> None:
    context = replace(context_of(Pacs("http://127.0.0.1:9/dicom-web")), results="runs/9/1/result")
    sink = Stow()
    sink.open(context)
    sink.write([])
    with context.ports.artifacts.open(sink.made["stow"]) as file:
        assert from_json(file.read()) == {"archive": "http://127.0.0.1:9", "files": 0, "stored": [], "failed": []}


def test_outside_a_job_nothing_is_sent() -> None:
    sink = Stow()
    sink.open(context_of(Pacs("http://127.0.0.1:9")))
    with pytest.raises(InvalidInput, match="in jobs alone"):
        sink.write([])


Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def archive_that(answers: Answer, **limits: Any) -> Iterator[Archive]:
    """Give a client of a server that answers so."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers(self)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answers(self)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Door)
    thread = Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    remote = Remote(url=f"http://tests:hush@127.0.0.1:{server.server_port}/root")
    try:
        with closing(Archive(remote, Targets(["127.0.0.1"]), **limits)) as archive:
            yield archive
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def status(number: int, **headers: str) -> Answer:
    def answer(door: BaseHTTPRequestHandler) -> None:
        door.send_response(number)
        for name, value in headers.items():
            door.send_header(name.replace("_", "-"), value)
        door.end_headers()

    return answer


def trickle(door: BaseHTTPRequestHandler) -> None:
    status(200, Content_Type="multipart/related; boundary=edge")(door)
    door.wfile.write(b"--edge\r\n\r\n")
    for _ in range(40):
        door.wfile.write(b"x" * 10)
        door.connection.settimeout(5)
        time.sleep(0.02)


def silence(door: BaseHTTPRequestHandler) -> None:  # noqa: ARG001
    time.sleep(1)


def cut(door: BaseHTTPRequestHandler) -> None:
    status(200, Content_Type="multipart/related; boundary=edge")(door)
    door.wfile.write(b"--edge\r\n\r\nhalf a fi")


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (status(401), StoreRefused, "answers 401: it refuses us"),
        (status(403), StoreRefused, "refuses us"),
        (status(404), NotFound, "has nothing at /studies/1.2"),
        (status(204), NotFound, "has nothing"),
        (status(302, Location="http://10.0.0.1/"), ConfigError, "somewhere else"),
        (status(400), InvalidInput, "answers 400 for /studies/1.2"),
        (status(429), Unavailable, "answers 429"),
        (status(503), Unavailable, "answers 503"),
        (status(200, Content_Type="text/html"), InvalidInput, "not with multipart/related"),
        (
            status(200, Content_Type="multipart/related; boundary=x", Content_Encoding="gzip"),
            InvalidInput,
            "compresses",
        ),
        (cut, Unavailable, "broke off"),
        (silence, Unavailable, "does not answer in time"),
        (trickle, DeadlineExceeded, "takes longer than 0.3 s"),
    ],
)
def test_what_an_archive_answers_is_told_in_our_words(answer: Answer, kind: type[Exception], words: str) -> None:
    limits = {"timeout": timedelta(seconds=30), "silence": timedelta(seconds=30)}
    if answer is trickle:
        limits["timeout"] = timedelta(seconds=0.3)
    if answer is silence:
        limits["silence"] = timedelta(seconds=0.4)
    with archive_that(answer, **limits) as archive, pytest.raises(kind, match=words) as caught:
        for _ in archive.fetch("/studies/1.2", iter(io.BytesIO, None)):
            pass
    assert "hush" not in str(caught.value)


def test_an_archive_that_is_away_is_unavailable() -> None:
    context = context_of(Pacs("http://127.0.0.1:9/dicom-web"))
    with pytest.raises(Unavailable, match="cannot be reached"):
        list(fetched(context, "dicomweb:1.2/3"))


def test_an_archive_that_stores_nothing_is_told() -> None:
    with archive_that(status(409)) as archive, pytest.raises(InvalidInput, match="stored none"):
        archive.store([(3, lambda: io.BytesIO(b"abc"))])


@pytest.mark.parametrize(
    "address",
    [
        "dicomweb:", "dicomweb:x", "dicomweb:1.2/", "dicomweb:1.2/3/4", "dicomweb:1..2", "dicomweb:../1", "1.2/3",
        "dicomweb:" + "1" * 65, "dicomweb:ftp://host/studies/1.2", "dicomweb:http://host/studies/x", "dicomweb:1.2?a",
    ],
)  # fmt: skip
def test_an_address_that_names_no_study_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput, match="names no study"):
        place_of(address)


def test_another_host_must_be_allowed() -> None:
    hosts = ("http://10.1.2.3", "http://169.254.169.254", "http://127.0.0.1:8080", "http://localhost:1")
    here = "http://127.0.0.1:9/root"
    remote = Remote(url="http://127.0.0.1:9/dicom-web", readable=(*hosts, here))
    ours = replace(make_context(), remotes={"dicomweb": remote})
    for host in hosts:
        with pytest.raises(Forbidden, match="may not go to"):
            list(fetched(ours, f"dicomweb:{host}/studies/1.2"))
    with pytest.raises(Unavailable):
        list(fetched(replace(ours, reachable=("127.0.0.0/8",)), f"dicomweb:{here}/studies/1.2"))


@pytest.mark.parametrize(
    ("readable", "address", "may"),
    [
        (("*",), "1.2.3/4", True),
        (("*",), "http://127.0.0.1:9/dicom-web/studies/1.2", True),  # ours, in full
        (("*",), "http://127.0.0.1:9/other/studies/1.2", False),  # ours is meant, and no other
        (("http://127.0.0.1:9/other/",), "http://127.0.0.1:9/other/studies/1.2", True),
        (("http://127.0.0.1:9/other",), "http://127.0.0.1:9/other2/studies/1.2", False),
        (("1.2.3.*",), "1.2.3/9", True),
        (("1.2.3.*",), "1.2.3.4", True),
        (("1.2.3.*",), "1.2.30.4", False),
        (("1.2.3.*",), "http://127.0.0.1:9/dicom-web/studies/1.2.4/series/1.2.3.4", False),
        (("1.2.3",), "1.2.3.4", False),
        ((), "1.2.3", False),
    ],
)
def test_jobs_read_the_studies_that_the_settings_name(readable: tuple[str, ...], address: str, may: bool) -> None:
    remote = Remote(url="http://127.0.0.1:9/dicom-web", readable=readable)
    context = replace(make_context(), remotes={"dicomweb": remote}, reachable=("127.0.0.1",))
    with pytest.raises(Unavailable if may else Forbidden, match="cannot be reached" if may else "Jobs may not read"):
        list(fetched(context, f"dicomweb:{address}"))


def test_without_an_archive_in_the_settings_the_setting_is_named() -> None:
    with pytest.raises(ConfigError, match="no picture archive") as caught:
        list(fetched(make_context(), "dicomweb:1.2/3"))
    assert "medical.dicomweb.url" in caught.value.cure
    for url in ("ftp://x", "pacs:8042", "http://"):
        with pytest.raises(ConfigError, match="address of the archive"):
            list(fetched(context_of(Pacs(url)), "dicomweb:1.2/3"))
