"""Profiles as the platform sees them: files that say how carefully a case looks. Packs know what is in them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.core.errors import SightlineError


@dataclass(frozen=True, kw_only=True)
class ProfileFile:
    """A profile as it is listed.

    Attributes:
        name: by which a request asks for it.
        title: one line that tells what it is for; empty where none is told, or the file is wrong.
        path: its file.
        hidden_by: file of the same name that is taken in its place; None: this one is.
        error: what is wrong with the file, with its line; None: nothing.
    """

    name: str
    title: str = ""
    path: Path
    hidden_by: Path | None = None
    error: SightlineError | None = None


class Profiles(ABC):
    """The profiles of a pack; an entry point of the group `sightline.profiles` names its class."""

    @abstractmethod
    def listed(self, folders: Sequence[Path]) -> Sequence[ProfileFile]:
        """Return the profiles in folders, those of the first one first, and behind them those that ship with the pack.

        A file that is wrong is listed with its error, and hinders no other.
        """
