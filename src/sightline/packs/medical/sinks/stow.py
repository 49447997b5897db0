"""The sink `stow`: the DICOM files that a job made go back into the picture archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from sightline.core.codec import to_json
from sightline.core.errors import InvalidInput
from sightline.core.plugins import Context, Sink
from sightline.core.sample import Sample
from sightline.packs.medical.sources.dicomweb import archive_of

_STORED, _FAILED = "00081199", "00081198"  # ReferencedSOPSequence, FailedSOPSequence
_CLASS, _INSTANCE, _URL, _REASON = "00081150", "00081155", "00081190", "00081197"


@dataclass(kw_only=True)
class Stow(Sink):
    """Sends the DICOM files (segmentation, report) that the sinks before it made to the archive of `medical.dicomweb`.

    It leaves a receipt as JSON: what the archive stored, and what it refused and why. Files that an archive has already
    under their UIDs do no harm, so that a second attempt of a job may send them again.

    Attributes:
        suffix: end of the keys of the files that are sent.
    """

    suffix: str = ".dcm"

    def open(self, context: Context) -> None:
        """Begin with nothing sent."""
        super().open(context)
        self._made: dict[str, str] = {}

    @property
    def made(self) -> Mapping[str, str]:
        """The receipt."""
        return self._made

    def write(self, samples: Sequence[Sample[Any]]) -> None:  # noqa: ARG002 - what it sends was made before it
        """Send the files of the job.

        Raises:
            InvalidInput: there is no job, or the archive refused a file.
            ConfigError: the settings name no archive, or it refuses us.
            Unavailable: it does not answer.
        """
        if not self.context.results:
            raise InvalidInput("The sink stow works in jobs alone.", cure="sightline submit CASE OBJECT")
        artifacts = self.context.ports.artifacts
        keys = sorted(key for key in self.context.made.values() if key.endswith(self.suffix))
        with closing(archive_of(self.context)) as archive:
            answer = (
                archive.store([(artifacts.size(key), partial(artifacts.open, key)) for key in keys]) if keys else {}
            )
            receipt: dict[str, Any] = {
                "archive": archive.name,
                "files": len(keys),
                "stored": [_stored(each) for each in _items(answer, _STORED)],
                "failed": [_failed(each) for each in _items(answer, _FAILED)],
            }
        if receipt["failed"]:
            refused = receipt["failed"][0]
            raise InvalidInput(
                f"{archive.name} refused {len(receipt['failed'])} of {len(keys)} files, "
                f"the first ({refused['sop_uid']}) for the reason {refused['reason']}.",
                cure="Failure reasons stand in PS3.18, table I.2-2; look into its log.",
            )
        key = f"{self.context.results}.stow.json"
        artifacts.put(key, to_json(receipt, indent=True))
        self._made["stow"] = key


def _items(answer: Mapping[str, Any], tag: str) -> list[Mapping[str, Any]]:
    element = answer.get(tag)
    found = element.get("Value", []) if isinstance(element, Mapping) else []
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _stored(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"sop_class": _value(item, _CLASS), "sop_uid": _value(item, _INSTANCE), "url": _value(item, _URL)}


def _failed(item: Mapping[str, Any]) -> dict[str, Any]:
    reason = _value(item, _REASON)
    shown = f"{reason:#06x}" if isinstance(reason, int) else str(reason)
    return {"sop_class": _value(item, _CLASS), "sop_uid": _value(item, _INSTANCE), "reason": shown}


def _value(item: Mapping[str, Any], tag: str) -> Any:
    element = item.get(tag)
    found = element.get("Value", []) if isinstance(element, Mapping) else []
    return found[0] if isinstance(found, list) and found else None
