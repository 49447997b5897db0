"""One delivery of a webhook, in bounded time and with a bounded answer, to an address that was looked at.

Knows HTTP and the signature; knows nothing of events, retries and order. No redirect is followed, no proxy or password
is taken from the environment, and what the receiver answers is read no further than its status needs. Only who sends
imports this module: it needs an HTTP client.
"""

from __future__ import annotations

import base64
import logging
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Timer
from typing import Any

import httpx2
from standardwebhooks import Webhook

from sightline.core.errors import ConfigError, SightlineError, Unavailable
from sightline.core.targets import Targets

_MAX_ANSWER_BYTES = 64 << 10
_PREFIX = "whsec_"
_SECRET_BYTES = range(24, 65)  # says the specification


@dataclass(frozen=True, slots=True)
class Answered:
    """What a receiver answered.

    Attributes:
        retry_after_s: how long it wants us to wait; None where it did not say.
    """

    status: int
    retry_after_s: float | None = None


def signers_of(secrets: Sequence[str]) -> list[Webhook]:
    """Return what signs with each of the secrets.

    Raises:
        ConfigError: one is no secret; the message does not show it.
    """
    for number, secret in enumerate(secrets, 1):
        coded = secret.removeprefix(_PREFIX)
        try:
            size = len(base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True))
        except ValueError:
            size = 0
        if size not in _SECRET_BYTES or coded == secret:
            raise ConfigError(
                f"Secret {number} of the webhook is none: {_PREFIX} and 24 to 64 bytes in base64 are needed.",
                cure='Make one: python -c "import base64, os; print(base64.b64encode(os.urandom(32)).decode())"',
            )
    return [Webhook(secret) for secret in secrets]


class Sender:
    """Delivers to one receiver.

    Args:
        url: of the receiver; http or https.
        signers: of the secrets that sign each message.
        headers: further ones, for instance a token that the receiver's gateway wants.
        timeout_s: for one delivery as a whole, the name of the host aside.
        targets: where may be sent to.
        ca: file with the certificates (PEM) that sign the receiver's; empty: those of the system.
        now: the time that is signed.

    Attributes:
        signers: may be exchanged between two deliveries.

    Raises:
        ConfigError: the address is none of http or https, or `ca` is no such file.
        Forbidden: the address may not be sent to.
    """

    def __init__(
        self,
        url: str,
        *,
        signers: Sequence[Webhook],
        headers: Mapping[str, str],
        timeout_s: float,
        targets: Targets,
        ca: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        # The client logs each address, and a receiver's address may hold its password.
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        self._url = _parsed(url)
        targets.check(self._url.host)
        self.name = f"{self._url.scheme}://{self._url.netloc.decode('ascii').rpartition('@')[2]}"
        self.signers = list(signers)
        self._timeout_s = timeout_s
        self._targets = targets
        self._now = now
        parts = self._url
        shows = any(name.lower() == "authorization" for name in headers)
        auth = (parts.username, parts.password) if parts.userinfo and not shows else None
        self._client = httpx2.Client(
            headers=dict(headers),
            auth=auth,
            follow_redirects=False,
            trust_env=False,
            verify=_trusting(ca) if ca else True,
            timeout=timeout_s,
            limits=httpx2.Limits(max_keepalive_connections=0),  # each delivery goes to an address just looked at
        )

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    def send(self, message_id: str, body: bytes, media_type: str, *, path: str = "") -> Answered:
        """Deliver a message and return the answer, whatever its status.

        Args:
            message_id: the same at each try, so that a receiver knows what it had.
            body: UTF-8.
            media_type: of the body.
            path: put behind that of the receiver's address: `/internal/jobs/7/completion`.

        Raises:
            Forbidden: the host may not be sent to.
            Unavailable: nobody answers, or not in time.
        """
        url, line = self._url, _Line()
        address = self._targets.address(url.host, url.port or (443 if url.scheme == "https" else 80))
        now = self._now()
        text = body.decode()
        headers = {
            "host": url.netloc.decode("ascii").rpartition("@")[2],
            "content-type": media_type,
            "user-agent": "sightline",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
        }
        if signed := [signer.sign(message_id, now, text) for signer in self.signers]:
            headers["webhook-signature"] = " ".join(signed)
        target = url.copy_with(host=address, username=None, password=None)
        if path:
            target = target.copy_with(path=url.path.rstrip("/") + path)
        watch = Timer(self._timeout_s, line.cut)
        watch.daemon = True
        watch.start()
        try:
            with self._client.stream(
                "POST",
                target,
                content=body,
                headers=headers,
                extensions={"sni_hostname": url.host, "trace": line.note},
            ) as response:
                self._read(response)
                return Answered(response.status_code, _retry_after_s(response.headers, now))
        except SightlineError:
            raise
        except Exception as error:  # noqa: BLE001 - a connection that is cut raises many things
            why = f"no answer within {self._timeout_s:g} s" if line.is_cut or _is_late(error) else _words(error)
            raise Unavailable(f"{self.name} cannot be reached: {why}.", cure="Check that it runs.") from None
        finally:
            watch.cancel()

    @staticmethod
    def _read(response: httpx2.Response) -> None:
        """Read the answer to its end, so that the receiver is not cut off; a long one is."""
        size = 0
        for part in response.iter_raw():
            size += len(part)
            if size > _MAX_ANSWER_BYTES:
                return


class _Line:
    """The connection of one delivery, which is cut when its time is over: each byte that trickles in renews the rest.

    Attributes:
        is_cut: its time was over.
    """

    def __init__(self) -> None:
        self.is_cut = False
        self._socket: Any = None

    def note(self, name: str, info: Mapping[str, Any]) -> None:
        """Hear from the client what it does."""
        if name in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")

    def cut(self) -> None:
        """End the connection, whoever waits for it."""
        self.is_cut = True
        if self._socket is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _parsed(url: str) -> httpx2.URL:
    """Return the parts of an address; errors do not show it, for all of it may be secret."""
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError):
        raise ConfigError("url of the webhook is no address.", cure="Write https://host/path.") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError("url of the webhook is no address of http or https.", cure="Write https://host/path.")
    return parsed


def _trusting(ca: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise ConfigError(f"ca of the webhook, {ca}, cannot be used: {error}.", cure="Name a PEM file.") from None


def _retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return what `Retry-After` asks for: seconds, or a date."""
    from email.utils import parsedate_to_datetime  # rarely needed

    wanted = headers.get("retry-after", "")
    if wanted.isdecimal() and len(wanted) < 8:
        return float(wanted)
    with suppress(ValueError, TypeError):
        return max(0.0, (parsedate_to_datetime(wanted) - now).total_seconds())
    return None


def _is_late(error: Exception) -> bool:
    return isinstance(error, httpx2.TimeoutException)


def _words(error: Exception) -> str:
    return (str(error) or type(error).__name__).rstrip(".")
