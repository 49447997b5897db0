"""Files that are read again when they change: secrets and keys that are exchanged without a restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sightline.core.errors import ConfigError
from sightline.settings import LoadedSettings
from sightline.settings.aliases import ALIASES, SETTINGS

Mark = tuple[int, int, int]


class WatchedFile:
    """Calls `use` with the bytes of a file whenever the file has become another one.

    What `read` or `use` raises goes to the caller; bytes that could not be used are not tried again.
    """

    def __init__(self, path: Path, read: Callable[[Path], bytes], use: Callable[[bytes], object]) -> None:
        self._path = path
        self._read = read
        self._use = use
        self._mark: Mark | None = None

    def look(self) -> bool:
        """Read the file if it is another one than at the last look, and return whether it is."""
        mark = _mark(self._path)
        if mark is not None and mark == self._mark:
            return False
        self._mark = None
        data = self._read(self._path)
        self._mark = mark
        self._use(data)
        return True


def secret_files(loaded: LoadedSettings) -> dict[str, Path]:
    """Return the files that the secrets of `auth` were read from, by setting: `{"jwt_secret": Path(...)}`."""
    found = {leaf: secret_file(loaded, f"auth.{leaf}") for leaf in ("jwt_secret", "service_token")}
    return {leaf: file for leaf, file in found.items() if file is not None}


def secret_file(loaded: LoadedSettings, setting: str) -> Path | None:
    """Return the file that a secret was read from: `auth.jwt_secret` from `SIGHTLINE_AUTH__JWT_SECRET_FILE`.

    None for any other value than one that names a file in the environment or in `.env`: it is read once, at the start.
    """
    environ = {name.upper(): value for name, value in loaded.environ.items() if value.strip()}
    names = [SETTINGS[setting].env_name, *(alias.name for alias in ALIASES if alias.path == setting)]
    is_given_here = loaded.origin(setting).startswith(("environment ", ".env:"))
    if not is_given_here or any(name in environ for name in names):
        return None
    files = [file for name in names if (file := environ.get(f"{name}_FILE"))]
    return (loaded.folder / Path(files[-1]).expanduser()).absolute() if files else None


def read_secret(path: Path) -> bytes:
    """Return the secret in a file, without the end of its line.

    Raises:
        ConfigError: it cannot be read, is empty, or larger than 64 KiB.
    """
    try:
        with path.open("rb") as file:
            data = file.read(65537).rstrip(b"\r\n")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", cure="Check the path.") from None
    if not data or len(data) > 65536:
        raise ConfigError(f"{path} is empty or no secret.", cure="Write the secret into it.")
    return data


def _mark(path: Path) -> Mark | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
