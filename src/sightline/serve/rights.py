"""What a caller may name: keys of objects below the folders that are open to him, and studies of the archive."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.core.access import Caller, Scope
from sightline.core.context import is_elsewhere
from sightline.core.errors import Forbidden, InvalidInput
from sightline.serve.objects import checked_object

if TYPE_CHECKING:
    from sightline.settings import AppSettings

PROJECT = "{project}"
"""Stands in `server.object_folders` for the project of the caller."""

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)  # what a project must be to be a folder too
_SCOPES = frozenset(scope.value for scope in Scope)


@dataclass(frozen=True, kw_only=True)
class Rights:
    """What one caller may name.

    Attributes:
        caller: who asks.
        folders: what keys of objects may begin with.
        archive: who may have studies of the archive read, as `medical.dicomweb.callers` has them.
        has_archive: whether the settings name one.
    """

    caller: Caller
    folders: Sequence[str]
    archive: Sequence[str] = ()
    has_archive: bool = True

    def check_read(self, object_: str) -> None:
        """Refuse what a job of the caller may not read: a key, a folder of keys, or a study of the archive.

        Raises:
            InvalidInput: the key is none, or not below a folder that is open; or there is no archive.
            Forbidden: studies are not for this caller.
        """
        if not is_elsewhere(object_):
            checked_object(object_.removesuffix("/"), self.folders)
        elif not self.has_archive:
            raise InvalidInput("The settings name no picture archive.", cure="Set medical.dicomweb.url, or upload it.")
        elif not any(self._is_meant(name) for name in (*self.archive, Scope.ADMIN)):
            raise Forbidden(
                f"{self.caller.id} may not have studies of the archive read.",
                cure="Use a key that medical.dicomweb.callers names.",
            )

    def check_job(self, object_: str, *, output: str | None = None, others: Iterable[str] = ()) -> None:
        """Refuse a job that would reach what is not the caller's, or write over what it reads.

        Args:
            object_: what it works on.
            output: key or stem of its results; None: they have a place of their own.
            others: what else it reads, for instance a mask to compare with.

        Raises:
            InvalidInput: a key is none, or not below a folder that is open, or the result is what the job reads.
            Forbidden: studies are not for this caller.
        """
        reads = [object_, *others]
        for each in reads:
            self.check_read(each)
        if output is None:
            return
        checked_object(output, self.folders)
        if output in reads or output.startswith(f"{object_.rstrip('/')}/"):
            raise InvalidInput("The output is what the job reads.", cure="Give the results a key of their own.")

    def _is_meant(self, name: str) -> bool:
        return self.caller.may(Scope(name)) if name in _SCOPES else name == self.caller.id


def is_of(caller: Caller, project: str) -> bool:
    """Return whether what belongs to a project is a caller's to see; admins see that of all."""
    return caller.project == project or caller.may(Scope.ADMIN)


def rights_of(caller: Caller, settings: AppSettings) -> Rights:
    """Return what the settings allow a caller.

    A folder with `{project}` is that of the caller's project; for admins it is open for all projects. A project whose
    name cannot be a folder has none.
    """
    folders = []
    for folder in settings.server.object_folders:
        before, there, after = folder.partition(PROJECT)
        if not there:
            folders.append(folder)
        elif caller.may(Scope.ADMIN):
            folders.append(before)
        elif _SEGMENT.fullmatch(caller.project):
            folders.append(before + caller.project + after)
    pacs = settings.medical.dicomweb
    has_archive = pacs.url is not None or any("://" in each for each in pacs.studies)
    return Rights(caller=caller, folders=folders, archive=pacs.callers, has_archive=has_archive)
