from __future__ import annotations

import io
import json
import re
import struct
import warnings
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import pytest
from pydicom import DataElement, Dataset, dcmread, dcmwrite
from pydicom.dataset import PrivateBlock
from pydicom.errors import InvalidDicomError
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, CTImageStorage
from tests.packs.medical.output.reports import study_of
from tests.packs.medical.phantoms import enhanced, phantom, series, written

from sightline.core.errors import ConfigError, InvalidInput
from sightline.packs.medical.output.deidentify import deidentified, deidentified_study, hashed_uid

KEY = "a key that nobody knows"
OTHER_KEY = "another key, unknown too"
NAME, NUMBER = "Ivanova^Anna", "MRN-778812"


def dangerous() -> Dataset:
    """Return a slice with the patient in every place where people and machines have put one."""
    dataset = series(phantom())[0]
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = NAME, NUMBER, "19610312"
    dataset.PatientAge = "094Y"
    dataset.OtherPatientIDs = [NUMBER, "77"]
    dataset.AccessionNumber, dataset.StudyID = "ACC-778812", "778812"
    dataset.StudyDescription = f"MRI brain of {NAME}"
    dataset.SeriesDescription = "Ivanova, follow-up"
    dataset.ImageComments = f"call {NAME} back"
    dataset.InstitutionName, dataset.InstitutionAddress = "Ivanova Clinic", "Lenina 1"
    dataset.ReferringPhysicianName = dataset.OperatorsName = "Ivanova^Doctor"
    dataset.DeviceSerialNumber = dataset.StationName = "MRN-778812-STATION"
    dataset.ProtocolName = "protocol Ivanova"
    dataset.AdditionalPatientHistory = "Ivanova has headaches"
    dataset.RequestAttributesSequence = Items([_item(RequestedProcedureDescription="Ivanova brain")])
    inner = _item(ReferencedSOPInstanceUID="1.2.3.4.5", TextValue="Ivanova inside", PatientID=NUMBER)
    inner.SourceImageSequence = Items([_item(ReferencedSOPInstanceUID="1.2.3.4.6", PatientComments="Ivanova")])
    dataset.SourceImageSequence = Items([inner])
    private: PrivateBlock = dataset.private_block(0x0011, "IVANOVA PRIVATE", create=True)
    private.add_new(0x01, "LO", NAME)
    nested = _item()
    nested.private_block(0x0011, "DEEP", create=True).add_new(0x02, "SH", "Ivanova")
    dataset.DerivationImageSequence = Items([nested])
    dataset.Manufacturer = dataset.ManufacturerModelName = dataset.BodyPartExamined = "IVANOVA"
    dataset[0x0009, 0x1234] = DataElement(0x00091234, "UN", b"Ivanova^Anna")
    dataset[0x6000, 0x3000] = DataElement(0x60003000, "OW", b"Ivanova ")  # an overlay: drawn words
    dataset[0x6000, 0x0022] = DataElement(0x60000022, "LO", "Ivanova overlay")
    icon = _item(Rows=1, Columns=1, BitsAllocated=8, PixelRepresentation=0, PixelData=b"Iv")
    dataset.IconImageSequence = Items([icon])
    code = _item(CodeValue="IVANOVA", CodingSchemeDesignator="99CLINIC", CodeMeaning="Ivanova's head")
    dataset.AnatomicRegionSequence = Items([code])
    dataset.RescaleType = "Ivanova"
    dataset.StudyDate, dataset.AcquisitionDateTime = "20260110", "20260110101500.25+0300"
    dataset.ContentDate = "Ivanova"
    dataset.file_meta.SourceApplicationEntityTitle = "IVANOVA_AE"
    return dataset


def _item(**values: object) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def as_read(dataset: Dataset) -> Dataset:
    """Return a dataset as it comes out of a file."""
    return dcmread(io.BytesIO(written(dataset)))


def test_a_name_in_an_element_without_a_type_does_not_leave() -> None:
    """As gateways leave it: a known element, here the laterality, whose type was lost on the way."""
    lost = struct.pack("<HH2sHI", 0x0020, 0x0060, b"UN", 0, 8) + b"Ivanova "
    dataset = dcmread(io.BytesIO(written(series(phantom())[0]) + lost))
    assert dataset.get_item(0x00200060).VR == "UN"
    assert "Laterality" not in deidentified(dataset, KEY)


def as_file(dataset: Dataset) -> bytes:
    file = io.BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


@pytest.fixture(autouse=True)
def _quiet() -> None:
    # The values below break rules on purpose; pydicom says so.
    warnings.filterwarnings("ignore", module="pydicom")


@pytest.mark.parametrize("read", [False, True], ids=["made", "read"])
def test_nothing_of_a_patient_is_left(read: bool) -> None:
    dataset = as_read(dangerous()) if read else dangerous()
    made = deidentified(dataset, KEY)

    bytes_left = as_file(made).upper()
    for word in ("IVANOVA", "ANNA", "778812", "19610312", "LENINA", "CLINIC", "1.2.3.4."):
        assert word.encode() not in bytes_left, word
    assert not [each for each in made.iterall() if each.tag.is_private or each.VR == "UN" or each.tag.group == 0x6000]
    assert {str(each.value) for each in made.iterall() if each.VR == "PN"} <= {""}
    assert made.PatientAge == "090Y"
    assert made.PatientIdentityRemoved == "YES"


def test_the_given_dataset_stays_as_it_was() -> None:
    dataset = dangerous()
    before = written(dataset)
    deidentified(dataset, KEY)
    assert written(dataset) == before


def test_geometry_and_pixels_leave_unchanged() -> None:
    dataset = series(phantom(), slope=2, intercept=-1024)[3]
    made = deidentified(dataset, KEY)
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "SliceThickness",
        "RescaleSlope",
        "RescaleIntercept",
        "Rows",
        "Columns",
        "BitsStored",
        "PixelRepresentation",
        "PixelData",
        "Modality",
        "SOPClassUID",
    ):
        assert made[keyword].value == dataset[keyword].value, keyword
    assert (made.pixel_array == dataset.pixel_array).all()


def test_the_frames_of_an_enhanced_picture_keep_their_places() -> None:
    dataset = enhanced(phantom())
    made = deidentified(as_read(dataset), KEY)
    places = [
        [list(frame.PlanePositionSequence[0].ImagePositionPatient) for frame in each.PerFrameFunctionalGroupsSequence]
        for each in (dataset, made)
    ]
    assert places[0] == places[1]
    assert made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing == [1.25, 1.5]


def test_uids_still_fit_together_under_one_key() -> None:
    first, second = (deidentified(each, KEY) for each in series(phantom())[:2])
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.FrameOfReferenceUID == second.FrameOfReferenceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID
    assert first.SOPClassUID == first.file_meta.MediaStorageSOPClassUID == CTImageStorage
    assert UID(first.SOPInstanceUID).is_valid
    assert len(first.SOPInstanceUID) <= 64
    assert deidentified(series(phantom())[0], OTHER_KEY).StudyInstanceUID != first.StudyInstanceUID


def test_references_inside_sequences_follow_the_pictures_that_they_name() -> None:
    one, two = series(phantom())[:2]
    two.SourceImageSequence = Items(
        [_item(ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID)]
    )
    item = deidentified(two, KEY).SourceImageSequence[0]
    assert item.ReferencedSOPInstanceUID == deidentified(one, KEY).SOPInstanceUID
    assert item.ReferencedSOPClassUID == one.SOPClassUID


def test_dates_of_a_patient_move_together_and_keep_their_distance() -> None:
    first, second = series(phantom())[:2]
    first.StudyDate, second.StudyDate = "20260110", "20260301"
    first.AcquisitionDateTime = "20260110101500.25+0300"
    one, two = deidentified(first, KEY), deidentified(second, KEY)

    def day(text: str) -> int:
        from datetime import date

        return date(int(text[:4]), int(text[4:6]), int(text[6:8])).toordinal()

    assert day(two.StudyDate) - day(one.StudyDate) == 50
    assert 1 <= day("20260110") - day(one.StudyDate) <= 3650
    assert str(one.AcquisitionDateTime) == f"{one.StudyDate}101500.25+0300"
    second.PatientID = "somebody else"
    assert day(deidentified(second, KEY).StudyDate) != day(two.StudyDate)


def test_one_patient_has_one_pseudonym_for_each_key() -> None:
    one, two = series(phantom())[:2]
    assert deidentified(one, KEY).PatientID == deidentified(two, KEY).PatientID != ""
    assert deidentified(one, OTHER_KEY).PatientID != deidentified(one, KEY).PatientID


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"BurnedInAnnotation": "YES"}, "says that words are burned"),
        ({"Modality": "US"}, "of the kind US"),
        ({"Modality": ""}, "of the kind unknown"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4"}, "capture of a screen"),
    ],
)
def test_pictures_in_which_words_may_stand_are_refused(changes: dict[str, str], reason: str) -> None:
    dataset = series(phantom())[0]
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    with pytest.raises(InvalidInput, match=reason):
        deidentified(dataset, KEY)


def test_an_ultrasound_that_says_it_holds_no_words_may_leave() -> None:
    dataset = series(phantom())[0]
    dataset.Modality, dataset.BurnedInAnnotation = "US", "NO"
    assert deidentified(dataset, KEY).Modality == "US"


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="5 characters"):
        deidentified(series(phantom())[0], "short")


def test_a_uid_of_the_standard_stays() -> None:
    assert hashed_uid(str(CTImageStorage), KEY) == CTImageStorage


def test_what_the_reading_says_loses_names_descriptions_and_files() -> None:
    datasets = series(phantom(), description="Ivanova head")
    study = study_of(
        phantom(),
        datasets,
        rest=[{"series": "1.2.3", "description": "Ivanova scout", "num_files": 1, "reason": "localizer"}],
        problems=[
            {"code": "missing_slice", "message": "ivanova/7.dcm", "severity": "repaired", "slices": [7]},
        ],
    )
    study = {**study, "slices": [{**each, "file": "ivanova.dcm"} for each in study["slices"]]}
    made = deidentified_study(study, KEY)
    text = json.dumps(made).lower()
    assert "ivanova" not in text
    assert str(datasets[0].SeriesInstanceUID) not in text
    assert made["slices"][0]["sop_uid"] == str(deidentified(datasets[0], KEY).SOPInstanceUID)
    assert made["problems"][0] == {
        "code": "missing_slice",
        "message": "Missing slice.",
        "severity": "repaired",
        "slices": [7],
    }
    assert made["rest"] == [{"reason": "localizer", "num_files": 1}]


PAGE = Path(__file__).parents[4] / "docs" / "explanation" / "de-identification.md"


def test_the_example_of_the_page_is_true() -> None:
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    exec(compile(code, str(PAGE), "exec"), {})  # noqa: S102  our own page


FOLDER = Path(str(files("pydicom"))) / "data" / "test_files"
FILES = sorted(path for path in FOLDER.glob("*.dcm") if path.stat().st_size < 400_000)


def test_the_test_files_of_pydicom_lose_their_people_or_are_refused() -> None:
    """A hundred files as machines have written them: whatever is said of a person in one is in none that leaves."""
    num_cleaned = 0
    for path in FILES:
        with suppress(InvalidDicomError, InvalidInput):
            num_cleaned += nothing_is_said_twice(path)
    assert num_cleaned >= 70


def nothing_is_said_twice(path: Path) -> bool:
    """Hold what is said of a person in a file against what leaves of it."""
    dataset = dcmread(path)
    dataset.BurnedInAnnotation = "NO"
    made = deidentified(dataset, KEY)
    said = {
        str(each.value).strip()
        for each in dataset.iterall()
        if each.VR in ("PN", "LT", "UT", "ST") or each.keyword in ("PatientID", "AccessionNumber", "StudyID")
    }
    left = {str(each.value).strip() for each in made.iterall() if each.VR not in ("CS", "IS", "DS")}
    assert {text for text in said & left if len(text) > 3} == set(), path.name
    assert not [each for each in made.iterall() if each.tag.is_private], path.name
    return True
