"""What the records of runs hide of their sources: kept in files of this machine that only their owner may read.

One file a run, in `data_root/secrets/runs`, with the whole entries of those sources that were given with a password. It
is there from before the run is recorded until the run is over. Sources of a manifest are not among them: their secrets
stand where the manifest says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import structlog

from sightline.core.codec import from_json, to_json
from sightline.core.errors import InvalidInput, NotFound, Unavailable
from sightline.core.prediction import JsonObject
from sightline.core.run import Run

log = structlog.get_logger()
Entries = Mapping[str, JsonObject]


class SourceSecrets:
    """Keeps entries of sources by run.

    Args:
        folder: made when something is first kept, for its owner alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, run: str, entries: Entries) -> None:
        """Keep these entries of a run in place of those before.

        Raises:
            Unavailable: the disk refuses.
        """
        if not entries:
            self.forget(run)
            return
        path = self._path(run)
        part = path.with_name(f".{path.name}.{uuid4().hex}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._folder.chmod(0o700)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(to_json(entries))
            part.replace(path)
        except OSError as error:
            raise Unavailable(
                f"The passwords of the sources cannot be kept in {self._folder}: {error.strerror}.",
                cure="Make the folder writable.",
            ) from None
        finally:
            part.unlink(missing_ok=True)

    def entries(self, run: str) -> Entries:
        """Return what is kept of a run; nothing where nothing is, or it cannot be read."""
        try:
            found = from_json(self._path(run).read_bytes())
        except (OSError, InvalidInput) as error:
            if not isinstance(error, FileNotFoundError):
                log.warning("passwords of sources cannot be read", run=run, error=str(error))
            return {}
        return found if isinstance(found, dict) else {}

    def forget(self, run: str) -> None:
        """Keep nothing of a run any more."""
        with suppress(OSError):
            self._path(run).unlink(missing_ok=True)

    def sweep(self, get: Callable[[str], Run]) -> None:
        """Keep nothing of runs that are over, however they ended; `get` returns a run."""
        for path in self._folder.glob("*.json"):
            with suppress(NotFound):
                if get(path.stem).state.is_final:
                    self.forget(path.stem)

    def _path(self, run: str) -> Path:
        return self._folder / f"{run}.json"
