"""The sink `medical-report`: everything that a medical job leaves in the artifact store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, BinaryIO, Literal

import structlog

from sightline.core.errors import Cancelled, ConfigError, InvalidInput, ModelNotFound, NotFound
from sightline.core.plugins import Context, Sink
from sightline.core.prediction import Finding, Findings, JsonObject, Mask
from sightline.core.run import Run
from sightline.core.sample import Sample, Volume
from sightline.packs.medical.debugging import Intermediates
from sightline.packs.medical.output.deidentify import WordsInPixels, checked_key, deidentified_study, says_words
from sightline.packs.medical.output.dicom_source import NoPictures
from sightline.packs.medical.output.planes import CT_WINDOWS
from sightline.packs.medical.output.report import SUFFIXES, Provenance, Report, note
from sightline.packs.medical.profiles import OUTPUTS, Profiled, resolved
from sightline.packs.medical.sinks.dicom import dicom_files, pictures_behind

log = structlog.get_logger(__name__)

_JOINS = " + "  # between the members of an ensemble in the name of a model


@dataclass(kw_only=True)
class MedicalReport(Profiled, Sink):
    """Mask, result JSON, Excel report and, as the profile says, uncertainty, DICOM SEG and SR, and pictures of a job.

    The keys are the stem of the job with `.nii.gz`, `.json`, `.xlsx`, `.uncertainty.nii.gz`,
    `.probability.nii.gz`, `.volume.nii.gz` (of what was no NIfTI), `.seg.dcm`, `.sr.dcm`, `.preview.png`, `.axial.png`,
    `.coronal.png` and `.sagittal.png`. What cannot be made, such as DICOM for a volume that was none, is a note among
    the problems of the result. See `docs/how-to/read-the-results.md`.

    Attributes:
        of: key of the predictor that gives the mask.
        findings: key of the predictor that lists what is in it.
        metrics: key of the predictor that compares it with a reference; empty: none does.
        threshold: that of the request, for the provenance.
        outputs: what is written, in place of what the profile says: words among mask, json, xlsx, seg, sr, previews,
            uncertainty, probability, volume.
        window: greys of the pictures of a CT: `soft`, `lung`, `bone` or `brain`; empty: what fits where something was
            found.
        segmentation: form of the DICOM SEG: `labelmap` is small, `binary` is what old viewers read.
        deidentify_key: secret of at least 16 characters, given by `${NAME}`; with one, nothing that leaves names the
            patient, UIDs and dates are changed, and pictures in which words may stand are refused.
        debug_dir: folder for volume, mask and maps as NIfTI and PNG, by run; empty: none are kept. The study page
            shows them, unless `deidentify_key` is given.
    """

    of: str
    findings: str
    metrics: str = ""
    threshold: float | None = None
    outputs: tuple[str, ...] = ()
    window: str = ""
    segmentation: Literal["labelmap", "binary"] = "labelmap"
    deidentify_key: str = field(default="", repr=False)
    debug_dir: str = ""

    def __post_init__(self) -> None:
        unknown = [word for word in self.outputs if word not in OUTPUTS]
        if unknown:
            raise ConfigError(f"outputs has {unknown[0]!r}.", cure=f"Choose among {', '.join(OUTPUTS)}.")
        if self.window and self.window not in CT_WINDOWS:
            raise ConfigError(f"window is {self.window!r}.", cure=f"Choose among {', '.join(CT_WINDOWS)}.")
        if self.deidentify_key:
            checked_key(self.deidentify_key)

    def open(self, context: Context) -> None:
        """Read the profile.

        Raises:
            InvalidInput: there is no such profile.
            ConfigError: its file is wrong.
        """
        super().open(context)
        self._made: dict[str, str] = {}
        self._kept = Intermediates(self.debug_dir, context, "report")

    @property
    def made(self) -> Mapping[str, str]:
        """Keys of what was written."""
        return self._made

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        """Write the result of the job.

        Raises:
            InvalidInput: there is no job, or it has more than one volume.
            StorageFull: there is no room.
        """
        if not self.context.results:
            raise InvalidInput("The sink medical-report works in jobs alone.", cure="sightline submit CASE OBJECT")
        for sample in samples:
            if self._made:
                raise InvalidInput("A job has one volume, and here is another.", cure="Submit each by itself.")
            self._write(sample)

    def _write(self, sample: Sample[Volume]) -> None:
        words = self.outputs or self._profile.outputs
        report = self._report(sample)
        notes: list[JsonObject] = []
        self._keep(report)
        if "mask" in words:
            self._put("mask", _mask(report))
        if "uncertainty" in words:
            self._uncertainty(report, notes)
        shown = self._dicom(report, sample.metadata.get("study") or {}, words, notes)
        self._to_look_at(report, words, shown=shown)
        pictures = self._pictures(report) if shown else {}
        for word, data in pictures.items():
            self._put(word, data)
        made = replace(report.provenance, finished=self.context.now())
        report = replace(report, notes=tuple(notes), provenance=made)
        if "xlsx" in words:
            self._put("xlsx", self._workbook(report, pictures))
        if "json" in words:
            self._put("json", self._json(report))
        self._show_kept()
        log.info("medical report made", run=self.context.run, files=len(self._made), findings=len(report.findings))

    def _put(self, word: str, data: BinaryIO | bytes) -> None:
        self._put_at(word, SUFFIXES[word], data)

    def _put_at(self, word: str, suffix: str, data: BinaryIO | bytes) -> None:
        if self.context.stopping.is_set():
            raise Cancelled("The job was stopped.")
        key = self.context.results + suffix
        self.context.ports.artifacts.put(key, data)
        self._made[word] = key

    def _public(self, report: Report) -> dict[str, str]:
        """Return the public keys of what was made so far, and of the workbook and the result themselves."""
        words = self.outputs or self._profile.outputs
        coming = [word for word in ("xlsx", "json") if word in words and word not in self._made]
        return {word: report.key(word) for word in (*self._made, *coming)}

    def _report(self, sample: Sample[Volume]) -> Report:
        mask = sample.prediction(self.of, Mask)
        study: JsonObject = sample.metadata.get("study") or {}
        run = self._run()
        provenance = Provenance(
            models=self._models(mask),
            profile=resolved(self._profile, threshold=self.threshold, outputs=list(self.outputs) or None),
            code=f"sightline {version('sightline')}",
            run=self.context.run,
            input={
                "object": "" if self.deidentify_key else self.context.object,
                "digest": study.get("digest", ""),
            },
            started=(run.started if run else None) or sample.clocks.wall,
            finished=self.context.now(),
        )
        return Report(
            volume=sample.payload,
            mask=mask,
            study=deidentified_study(study, self.deidentify_key) if self.deidentify_key else study,
            findings=self._items(sample, self.findings),
            metrics=self._items(sample, self.metrics) if self.metrics else (),
            provenance=provenance,
            stem=str((run.spec.get("output") if run else None) or self.context.results),
        )

    def _run(self) -> Run | None:
        try:
            return self.context.ports.store.runs.get(self.context.run)
        except NotFound:
            return None

    def _items(self, sample: Sample[Volume], key: str) -> tuple[Finding, ...]:
        return sample.prediction(key, Findings).items

    def _models(self, mask: Mask) -> list[JsonObject]:
        """Return the models that really ran, as their cards name them."""
        told: list[JsonObject] = []
        for ref in (mask.model or "").split(_JOINS) if mask.model else ():
            try:
                card = self.context.open_model(ref).card
            except (ModelNotFound, InvalidInput):
                told.append({"model": ref, "digest": ""})  # removed since: the name is all there is
                continue
            told.append({"model": ref, "digest": card.digest, "licence": card.licence})
        return told

    def _keep(self, report: Report) -> None:
        voxels, mask, affine = report.volume.voxels_IJK, report.mask, report.volume.affine
        self._kept.keep("volume", voxels, affine, labels_IJK=mask.labels_HW, modality=report.modality)
        self._kept.keep("mask", mask.labels_HW, affine)
        for word, values in mask.maps.items():
            self._kept.keep(word, values, affine)

    def _show_kept(self) -> None:
        """Put the intermediates beside the results, for the study page."""
        if self.deidentify_key:
            return  # they show the patient as it is: they stay where they are
        for path in self._kept.files():
            with path.open("rb") as file:
                self._put_at(f"debug/{path.name}", f".debug/{path.name}", file)

    def _uncertainty(self, report: Report, notes: list[JsonObject]) -> None:
        from sightline.packs.medical.output.mask_file import uncertainty_file

        file = uncertainty_file(report)
        if file is None:
            notes.append(note("uncertainty_not_made", "The predictor of the mask gives no probability."))
            return
        self._put("uncertainty", file)

    def _to_look_at(self, report: Report, words: Sequence[str], *, shown: bool) -> None:
        """Write what a viewer wants: the probability, and the volume where it was no NIfTI file to begin with."""
        from sightline.packs.medical.output.mask_file import probability_file, volume_file

        if "probability" in words and (chances := probability_file(report)) is not None:
            self._put("probability", chances)
        may_leave = shown or not self.deidentify_key  # words may stand in the pixels
        if "volume" in words and may_leave and report.study.get("container") != "nifti":
            self._put("volume", volume_file(report))

    def _pictures(self, report: Report) -> dict[str, bytes]:
        from sightline.packs.medical.output.previews import (
            previews,
        )  # OpenCV and Pillow, only where pictures are wanted

        return previews(report, preset=self.window if report.modality == "CT" else "")

    def _workbook(self, report: Report, pictures: Mapping[str, bytes]) -> bytes:
        from sightline.packs.medical.output.excel import workbook

        return workbook(report, self._public(report), pictures)

    def _json(self, report: Report) -> bytes:
        from sightline.packs.medical.output.result_json import result_json

        return result_json(report, self._public(report))

    def _dicom(self, report: Report, study: JsonObject, words: Sequence[str], notes: list[JsonObject]) -> bool:
        """Write what is wanted in DICOM; return whether pictures are wanted, and may leave."""
        wants_dicom, shows = bool({"seg", "sr"} & set(words)), "previews" in words
        if not wants_dicom and not shows:
            return False
        try:
            pictures = pictures_behind(self.context, report, study, self.deidentify_key)
        except NoPictures as error:
            if wants_dicom:
                notes.append(note("dicom_not_made", str(error)))
            return shows
        except (InvalidInput, NotFound) as error:
            reason = _reason(error, is_secret=bool(self.deidentify_key))
            if wants_dicom:
                notes.append(note("dicom_not_made", reason))
            if shows and self.deidentify_key:
                notes.append(note("previews_not_made", reason))
            return shows and not self.deidentify_key
        if wants_dicom:
            files, found = dicom_files(self.context, report, pictures, words, form=self.segmentation)
            notes += found
            for word, data in files.items():
                self._put(word, data)
        if shows and any(map(says_words, pictures.headers)):  # with a key they were refused before
            notes.append(note("previews_not_made", "The pictures say that words are burned into their pixels."))
            return False
        return shows


def _reason(error: InvalidInput | NotFound, *, is_secret: bool) -> str:
    """Return why there are no headers; names of files stay out of it where they may be names of people."""
    if isinstance(error, WordsInPixels) or not is_secret:
        return error.message
    return "The headers of the pictures cannot be read, or the object of the job has gone."


def _mask(report: Report) -> BinaryIO:
    from sightline.packs.medical.output.mask_file import mask_file  # nibabel, only where a mask is wanted

    return mask_file(report)
