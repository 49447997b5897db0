"""Tells the backend how a job of `POST /infer` ended: `POST {backend.url}/internal/jobs/{job_uuid}/completion`.

Each message shows the service token as bearer and carries a Standard Webhooks signature, so that the backend may check
either. How it is kept and tried again stands in `engine/deliveries`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from sightline.core.codec import to_json
from sightline.core.deliveries import Delivery
from sightline.core.errors import ConfigError, Forbidden
from sightline.core.events import Event
from sightline.core.prediction import JsonObject
from sightline.engine.deliveries import Receiver
from sightline.serve.auth.files import WatchedFile, read_secret, secret_file

if TYPE_CHECKING:
    from sightline.core.sending import Answered, Sender
    from sightline.settings import LoadedSettings

JOB = "job_uuid"
"""Tag of a run that was asked for by `POST /infer`."""

MASK = "mask"
"""Word of the file that is the result; where none has it, the first one is."""

_MEDIA_TYPE = "application/json"


class Backend(Receiver):
    """The application that hears of results, as the settings name it.

    Args:
        loaded: the settings; files that hold the service token and the secret are read again when they change.

    Raises:
        ConfigError: `backend.url` is no address, or `backend.secret` no secret.
    """

    name = "backend"
    types: Sequence[str] = ("run.completed", "run.failed", "run.cancelled")

    def __init__(self, loaded: LoadedSettings) -> None:
        settings = loaded.settings
        self.timeout_s = settings.backend.timeout_s
        self.keep = timedelta(hours=settings.backend.retry_hours)
        self._settings = settings
        token = settings.auth.service_token
        self._token = "" if token is None else token.get_secret_value()
        self._secret = settings.backend.secret
        self._lock = Lock()
        self._sender: Sender | None = None
        watched = (("auth.service_token", self._take_token), ("backend.secret", self._take_secret))
        self._files = [
            WatchedFile(file, read_secret, take) for name, take in watched if (file := secret_file(loaded, name))
        ]
        self._made()  # what is wrong with the address ends the start, not the first message

    def message(self, event: Event) -> Delivery | None:
        """Return the completion of a job that somebody asked for by `POST /infer`."""
        job = (event.data.get("metadata") or {}).get(JOB)
        if not isinstance(job, str) or not job:
            return None
        state = event.short_type.rpartition(".")[2]
        status: JsonObject = event.data.get("status") or {}
        body = completed(status) if state == "completed" else _failed(event.data, state)
        path = f"/internal/jobs/{quote(job, safe='')}/completion"
        return Delivery(id=event.id, receiver=self.name, path=path, about=job, body=body)

    def send(self, delivery: Delivery) -> Answered:
        """Try once, with the token and the secret of this moment."""
        for file in self._files:
            file.look()
        return self._made().send(delivery.id, to_json(delivery.body), _MEDIA_TYPE, path=delivery.path)

    def close(self) -> None:
        """Close the connections."""
        if self._sender is not None:
            self._sender.close()

    def _take_token(self, token: bytes) -> None:
        with self._lock:
            if token.decode("latin-1") != self._token:
                self._token = token.decode("latin-1")
                self._sender = None  # a message that is under way keeps the old one

    def _take_secret(self, data: bytes) -> None:
        """Sign with another secret from now on; one that is none is told, and the old one goes on."""
        from sightline.core.sending import signers_of  # see `_made`

        secret = SecretStr(data.decode("latin-1"))
        signers_of(secrets_in(secret, "backend.secret"))
        with self._lock:
            if secret != self._secret:
                self._secret, self._sender = secret, None

    def _secrets(self) -> list[str]:
        """Return the secrets that sign: those of `backend.secret`, else one that is made from the service token."""
        if self._secret is not None:
            return secrets_in(self._secret, "backend.secret")
        digest = sha256(self._token.encode("latin-1")).digest()
        return [f"whsec_{base64.b64encode(digest).decode()}"] if self._token else []

    def _made(self) -> Sender:
        from sightline.core.sending import Sender, signers_of  # an HTTP client, for those alone who have a backend
        from sightline.core.targets import Targets

        with self._lock:
            if self._sender is None:
                backend = self._settings.backend
                url = backend.url or ""
                try:
                    self._sender = Sender(
                        url,
                        signers=signers_of(self._secrets()),
                        headers={"authorization": f"Bearer {self._token}"} if self._token else {},
                        timeout_s=self.timeout_s,
                        targets=Targets([urlsplit(url).hostname or ""]),
                        ca="" if backend.ca is None else str(backend.ca),
                    )
                except (ConfigError, Forbidden, ValueError) as error:
                    said = getattr(error, "message", "it cannot be read")
                    raise ConfigError(f"backend.url and its secret: {said}", cure=getattr(error, "cure", "")) from None
            return self._sender


def completed(status: JsonObject) -> dict[str, Any]:
    """Return what is told of a job that ended well: the mask as `output_object`, other files as `<word>_object`.

    Intermediates, `debug/...`, are nobody's but those who look for a mistake.
    """
    files: Mapping[str, JsonObject] = status.get("files") or {}
    word = MASK if MASK in files else next(iter(files), None)
    found: dict[str, Any] = {"status": "completed", "output_object": None, "file_size": 0, "file_name": ""}
    if word is not None:
        key = str(files[word]["key"])
        found |= {"output_object": key, "file_size": files[word]["num_bytes"], "file_name": key.rpartition("/")[2]}
    return found | {
        f"{other}_object": file["key"] for other, file in files.items() if other != word and "/" not in other
    }


def parts_of(secret: SecretStr | None) -> list[str]:
    """Return what stands between the commas of a secret."""
    return [] if secret is None else [each for part in secret.get_secret_value().split(",") if (each := part.strip())]


def secrets_in(secret: SecretStr, setting: str) -> list[str]:
    """Return the secrets that a setting holds, which sign.

    Raises:
        ConfigError: there is nothing but commas in it.
    """
    if not (parts := parts_of(secret)):
        raise ConfigError(f"{setting} holds no secret.", cure="Write whsec_..., or leave it out.")
    return parts


def _failed(data: JsonObject, state: str) -> dict[str, Any]:
    status: JsonObject = data.get("status") or {}
    kind = data.get("error_kind") or status.get("error_kind") or ("cancelled" if state == "cancelled" else "internal")
    said = data.get("error") or ("The job was cancelled." if state == "cancelled" else "The job failed.")
    return {"status": "failed", "error_kind": kind, "error": said}
