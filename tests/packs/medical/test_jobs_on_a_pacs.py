"""A durable job whose object lies in a real archive and whose artifacts lie in a real bucket; its result goes back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pydicom
import pytest
from tests.engine.conftest import World
from tests.engine.job_world import NOW, JobWorld, Journal, Length
from tests.packs.medical.test_dicomweb import SERIES, SLICES, STUDY, context_of, dicom_slice, send
from tests.pacs import Pacs, orthanc
from tests.seaweed import make_bucket, s3_store, seaweed

from sightline.adapters.database import SqlStore
from sightline.core.case import Case, PredictionStage
from sightline.core.codec import from_json
from sightline.core.errors import Unavailable
from sightline.core.plugins import Remote, Sink, Source
from sightline.core.prediction import JsonObject
from sightline.core.run import Run, RunState
from sightline.core.sample import Clocks, Sample, Text
from sightline.engine.job_steps import JobCase
from sightline.packs.medical.sinks.stow import Stow
from sightline.packs.medical.sources.dicomweb import fetched

pytestmark = [pytest.mark.service("pacs"), pytest.mark.service("s3")]


@dataclass(kw_only=True)
class Uids(Source):
    """A sample a file: the UID of its slice."""

    def load_elsewhere(self, address: str) -> Iterator[Sample[Text]]:
        for seq, (_, file) in enumerate(fetched(self.context, address)):
            uid = str(pydicom.dcmread(file).SOPInstanceUID)
            clocks = Clocks(pts_s=None, monotonic_s=0, wall=NOW)
            yield Sample(payload=Text(uid), source="", seq=seq, clocks=clocks)


@dataclass(kw_only=True)
class Result(Sink):
    """Makes a DICOM file of UIDs that each attempt gives alike."""

    series: str

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        self._key = f"{self.context.results}.seg.dcm"
        self.context.ports.artifacts.put(self._key, dicom_slice(self.series, len(samples)))

    @property
    def made(self) -> dict[str, str]:
        return {"seg": self._key}


@dataclass(kw_only=True)
class Fails(Sink):
    """Fails once, behind all others."""

    journal: Any = None

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        self.journal.note("last", self.context)
        if len(self.journal.lines) == 2:  # after the one of the predictor
            raise Unavailable("the power was away")


class PacsWorld(JobWorld):
    """Jobs of a process whose settings name an archive."""

    def __init__(self, world: World, case: Case, pacs: Pacs) -> None:
        super().__init__(world, case)
        self._remotes = {"dicomweb": Remote(url=pacs.url, user=pacs.user, password=pacs.password)}

    def made(self, _name: str, parameters: JsonObject) -> JobCase:
        made = super().made(_name, parameters)
        return replace(made, context=replace(made.context, remotes=self._remotes))


def test_a_series_goes_through_a_job_and_its_result_back_into_the_archive(tmp_path: Path) -> None:
    for name in ("pacs", "s3"):
        (tmp_path / name).mkdir()
    journal, series = Journal(), f"{STUDY}.9"
    case = Case(
        name="uids",
        sources={"files": Uids()},
        input="files",
        stages={PredictionStage.ANALYTICS: {"length": Length(journal=journal)}},
        sinks=(Result(series=series), Stow(), Fails(journal=journal)),
    )
    with (
        orthanc(tmp_path / "pacs") as pacs,
        seaweed(tmp_path / "s3") as s3,
        closing(SqlStore(tmp_path / "store.db")) as store,
    ):
        send(pacs, SLICES)
        world = World(store)
        world.ports.artifacts = s3_store(f"s3://{make_bucket(s3, 'jobs')}/{uuid4().hex}", s3)
        jobs = PacsWorld(world, case, pacs)

        run, _ = jobs.jobs.submit("uids", f"dicomweb:{STUDY}/{SERIES}", output="results/one")
        ended: Run = jobs.done(run, 30)

        assert ended.state is RunState.COMPLETED, ended.error
        assert journal.lines == ["length", "last", "last"]
        assert ended.status["made"] == {"seg": "results/one.seg.dcm", "stow": "results/one.stow.json"}
        receipt = from_json(jobs.text("results/one.stow.json"))
        assert [each["sop_uid"] for each in receipt["stored"]] == [f"{series}.12"]
        [(_, file)] = [(name, file.read()) for name, file in fetched(context_of(pacs), f"dicomweb:{STUDY}/{series}")]
        assert f"{series}.12".encode() in file
