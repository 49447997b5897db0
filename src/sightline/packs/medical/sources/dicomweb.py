"""Where a job's object may lie besides the artifact store: in a picture archive, as `dicomweb:STUDY/SERIES`."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import urlsplit

from sightline.core.errors import ConfigError, Forbidden, InvalidInput
from sightline.core.plugins import Context, Remote
from sightline.core.targets import Targets
from sightline.packs.medical.dicomweb import Archive

SCHEME = "dicomweb:"
_IN_MEMORY_BYTES = 4 << 20
_UID = r"\d+(?:\.\d+)*"
_NAMED = re.compile(rf"(?P<study>{_UID})(?:/(?P<series>{_UID}))?")
_FULL = re.compile(rf"(?P<root>https?://\S+?)/studies/(?P<study>{_UID})(?:/series/(?P<series>{_UID}))?/?")
_LONGEST_UID = 64


@dataclass(frozen=True, kw_only=True)
class Place:
    """A study, or one series of it.

    Attributes:
        root: address of the archive; empty: that of the settings.
        series: empty: the whole study.
    """

    root: str = ""
    study: str
    series: str = ""

    @property
    def path(self) -> str:
        """Below the root."""
        return f"/studies/{self.study}" + (f"/series/{self.series}" if self.series else "")


def place_of(address: str) -> Place:
    """Return what `dicomweb:STUDY`, `dicomweb:STUDY/SERIES` or `dicomweb:https://HOST/ROOT/studies/...` names.

    Raises:
        InvalidInput: it has none of these forms.
    """
    rest = address.removeprefix(SCHEME)
    match = _NAMED.fullmatch(rest) or _FULL.fullmatch(rest)
    if match is None or rest == address or any(len(match[name] or "") > _LONGEST_UID for name in ("study", "series")):
        raise InvalidInput(f"{address[:200]!r} names no study.", cure="Write dicomweb:STUDY_UID/SERIES_UID")
    return Place(root=match.groupdict().get("root") or "", study=match["study"], series=match["series"] or "")


def archive_of(context: Context, root: str = "") -> Archive:
    """Return the archive of the settings, or the one at `root`.

    The host that the settings name may be spoken to, wherever it lies; another one if `webhooks.allow` has it. Name
    and password are shown to the archive of the settings alone.

    Raises:
        ConfigError: the settings name none.
        Forbidden: the host of `root` may not be spoken to.
    """
    ours = _ours(context)
    remote = ours if _is_ours(ours, root) else Remote(url=root)
    if not remote.url:
        raise ConfigError("The settings name no picture archive.", cure="Set medical.dicomweb.url.")
    host = urlsplit(ours.url).hostname
    allowed = context.reachable if remote is not ours else (host,) if host else ()
    return Archive(remote, Targets(allowed), is_stopping=context.stopping.is_set)


def fetched(context: Context, address: str) -> Iterator[tuple[str, BinaryIO]]:
    """Yield name and content of each DICOM file of a study or series; a content is open until the next is asked for.

    Raises:
        Forbidden: the settings keep it from jobs.
        SightlineError: see `Archive.fetch`, `place_of` and `archive_of`.
    """
    place = place_of(address)
    if not _is_readable(_ours(context), place):
        raise Forbidden(
            f"Jobs may not read {place.root or 'the study ' + place.study}.", cure="See medical.dicomweb.studies."
        )
    with closing(archive_of(context, place.root)) as archive:
        for number, file in enumerate(archive.fetch(place.path, _files()), 1):
            with file:
                file.seek(0)
                yield f"{number:05}.dcm", file


def _ours(context: Context) -> Remote:
    return context.remotes.get("dicomweb", Remote())


def _is_ours(ours: Remote, root: str) -> bool:
    return not root or root.rstrip("/") == ours.url.rstrip("/")


def _is_readable(ours: Remote, place: Place) -> bool:
    """Return whether the settings let jobs read a study: by its UID in our archive, by its address in another one."""
    if not _is_ours(ours, place.root):
        return place.root.rstrip("/") in {each.rstrip("/") for each in ours.readable}
    uid = place.study
    return any(
        each in ("*", uid) or (each.endswith(".*") and f"{uid}.".startswith(each[:-1])) for each in ours.readable
    )


def _files() -> Iterator[BinaryIO]:
    """Yield new files without end: in memory while they are small, then on the disk; they go when they are closed."""
    while True:
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as file:
            yield file  # type: ignore[misc]  # it is one, though typeshed does not say so
