"""DICOMweb: series from a picture archive (WADO-RS), results into it (STOW-RS).

Knows HTTP and the two services; DICOM files are bytes to it. An archive is spoken to at an address that was looked at
(`core/targets`), no redirect is followed, and what it answers is counted while it comes.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, BinaryIO
from uuid import uuid4

import httpx2

from sightline.core.codec import from_json
from sightline.core.errors import (
    Cancelled,
    ConfigError,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    SightlineError,
    StorageFull,
    StoreRefused,
    TooLarge,
    Unavailable,
)
from sightline.core.plugins import Remote
from sightline.core.targets import Targets
from sightline.packs.medical.multipart import Parts, boundary_of

MOST_BYTES = 16 << 30
MOST_FILES = 20_000
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PIECE_BYTES = 256 << 10
_MOST_TOLD = 8 << 20  # bytes of an answer that is JSON
_WANTED = 'multipart/related; type="application/dicom"; transfer-syntax=*'


class Archive:
    """A DICOMweb server.

    Args:
        remote: address of its root, for instance `http://pacs:8042/dicom-web`, and who we are there.
        targets: where may be spoken to.
        timeout: for one answer as a whole.
        silence: for which the server may send nothing of it.
        is_stopping: True when the answer is not wanted any more.

    Raises:
        ConfigError: the address is none of http or https.
        Forbidden: it may not be spoken to.
    """

    def __init__(
        self,
        remote: Remote,
        targets: Targets,
        *,
        timeout: timedelta = timedelta(minutes=30),
        silence: timedelta = timedelta(minutes=1),
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs each address, with the ids of patients' studies
        self._root = _parsed(remote.url)
        targets.check(self._root.host)
        self.name = f"{self._root.scheme}://{self._root.netloc.decode('ascii').rpartition('@')[2]}"
        self._targets = targets
        self._timeout_s = timeout.total_seconds()
        self._is_stopping = is_stopping
        in_address = (self._root.username, self._root.password) if self._root.userinfo else None
        self._client = httpx2.Client(
            auth=(remote.user, remote.password) if remote.user else in_address,
            follow_redirects=False,
            trust_env=False,
            timeout=httpx2.Timeout(silence.total_seconds(), connect=10.0),
            headers={"user-agent": "sightline", "accept-encoding": "identity"},
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def fetch(
        self,
        path: str,
        files: Iterator[BinaryIO],
        *,
        most_bytes: int = MOST_BYTES,
        most_files: int = MOST_FILES,
    ) -> Iterator[BinaryIO]:
        """Write each DICOM file of a study or series, as it is stored there, into the next of `files`, and yield that.

        Args:
            path: below the root: `/studies/1.2.3/series/4.5.6`.
            files: open for writing.
            most_bytes: of all files together.
            most_files: that are taken.

        Raises:
            NotFound: there is nothing of that name.
            ConfigError: the archive refuses us.
            TooLarge: it is more than is taken.
            Unavailable: the archive does not answer, or its answer breaks off.
            DeadlineExceeded: the answer takes longer than `timeout`.
            Cancelled: it is not wanted any more.
        """
        with self._asked("GET", path, headers={"accept": _WANTED}) as response:
            if response.status_code == 204:
                raise self._absent(path)
            boundary = boundary_of(response.headers.get("content-type", ""))
            pieces = self._pieces(response)
            yield from Parts(pieces, boundary, most_bytes=most_bytes, most_parts=most_files).write_each(files)

    def store(self, files: Sequence[tuple[int, Callable[[], BinaryIO]]]) -> dict[str, Any]:
        """Send DICOM files, and return the archive's answer: what it stored and what it refused, as DICOM JSON.

        Args:
            files: number of bytes of each, and what opens it.

        Raises:
            InvalidInput: the archive takes none of them.
            ConfigError: it refuses us.
            Unavailable: it does not answer.
        """
        boundary = uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        tail = f"--{boundary}--\r\n".encode()
        length = sum(len(head) + num_bytes + 2 for num_bytes, _ in files) + len(tail)

        def body() -> Iterator[bytes]:
            for _, opened in files:
                yield head
                with opened() as file:
                    while piece := file.read(_PIECE_BYTES):
                        self._check_stopping()
                        yield piece
                yield b"\r\n"
            yield tail

        headers = {
            "content-type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "content-length": str(length),
            "accept": "application/dicom+json",
        }
        with self._asked("POST", "/studies", headers=headers, content=body(), taken=(200, 202, 409)) as response:
            told = b""
            for piece in self._pieces(response):
                told += piece
                if len(told) > _MOST_TOLD:
                    raise TooLarge(f"{self.name} answers with more than {_MOST_TOLD >> 20} MiB.")
            try:
                answer = from_json(told) if told.strip() else {}
            except InvalidInput:
                answer = {}
            if response.status_code == 409 and not answer:
                raise InvalidInput(f"{self.name} stored none of the files.", cure="Look into its log.")
            return answer if isinstance(answer, dict) else {}

    @contextmanager
    def _asked(
        self, method: str, path: str, *, headers: dict[str, str], taken: Sequence[int] = (200, 204), content: Any = None
    ) -> Iterator[httpx2.Response]:
        """Give the answer, its body unread, when its status is one of `taken`."""
        root = self._root
        address = self._targets.address(root.host, root.port or (443 if root.scheme == "https" else 80))
        target = root.copy_with(host=address, username=None, password=None, path=root.path.rstrip("/") + path)
        host = root.netloc.decode("ascii").rpartition("@")[2]
        try:
            with self._client.stream(
                method,
                target,
                headers={"host": host, **headers},
                content=content,
                extensions={"sni_hostname": root.host},
            ) as response:
                if response.status_code not in taken:
                    raise self._refused(path, response.status_code)
                if response.headers.get("content-encoding", "identity").lower() != "identity":
                    raise InvalidInput(f"{self.name} compresses its answer although that was not wanted.")
                yield response
        except httpx2.TimeoutException:
            raise Unavailable(f"{self.name} does not answer in time.", cure="Check that it runs.") from None
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            if getattr(error, "errno", None) in _FULL:
                raise StorageFull("There is no room for what the archive sends.", cure="Free some space.") from None
            raise Unavailable(
                f"{self.name} cannot be reached: {str(error) or type(error).__name__}.", cure="Check that it runs."
            ) from None

    def _pieces(self, response: httpx2.Response) -> Iterator[bytes]:
        """Yield the body as it comes, as long as it is wanted and in time."""
        end_s = time.monotonic() + self._timeout_s
        for piece in response.iter_raw(_PIECE_BYTES):
            self._check_stopping()
            if time.monotonic() > end_s:
                raise DeadlineExceeded(f"{self.name} takes longer than {self._timeout_s:g} s.", cure="Ask for less.")
            yield piece

    def _check_stopping(self) -> None:
        if self._is_stopping():
            raise Cancelled(f"What {self.name} sends is not wanted any more.")

    def _refused(self, path: str, status: int) -> SightlineError:
        said = f"{self.name} answers {status}"
        if status in {401, 403, 407}:
            return StoreRefused(
                f"{said}: it refuses us.", cure="Check medical.dicomweb.user and medical.dicomweb.password."
            )
        if status in {404, 410}:
            return self._absent(path)
        if status in {408, 425, 429} or status >= 500:
            return Unavailable(f"{said}.", cure="Try again later.")
        if 300 <= status < 400:
            return ConfigError(f"{said}: it is somewhere else.", cure="Name its own address in medical.dicomweb.url.")
        return InvalidInput(f"{said} for {path}.", cure="Check that it is a DICOMweb server.")

    def _absent(self, path: str) -> NotFound:
        return NotFound(f"{self.name} has nothing at {path}.", cure="Check the UIDs of study and series.")


def _parsed(url: str) -> httpx2.URL:
    """Return the parts of an address; errors do not show it, for a password may stand in it."""
    cure = "Write http://pacs:8042/dicom-web"
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError):
        raise ConfigError("The address of the archive is none.", cure=cure) from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError("The address of the archive is none of http or https.", cure=cure)
    return parsed
