"""Who is told by this server what happened: the backend, of jobs that it asked for; others, of events.

Receivers in the settings hear of all cases; the sink `webhook` is for those of one case, in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from pydantic import SecretStr

from sightline.build.context import CaseBuildContext
from sightline.core.codec import encode_event, to_json
from sightline.core.deliveries import Delivery
from sightline.core.errors import ConfigError, Forbidden
from sightline.core.events import Event
from sightline.engine.deliveries import Deliveries, Receiver
from sightline.serve.auth.files import WatchedFile, read_secret, secret_file
from sightline.serve.completion import Backend, parts_of, secrets_in

if TYPE_CHECKING:
    from sightline.core.sending import Answered
    from sightline.settings import LoadedSettings

_MEDIA_TYPE = "application/cloudevents+json"
_GONE = 410


class Told:
    """Everybody who is told.

    Args:
        context: settings, and the ports that keep what is to be told.

    Raises:
        ConfigError: an address is none or may not be sent to, or a secret is none.
    """

    def __init__(self, context: CaseBuildContext) -> None:
        settings = context.settings
        receivers: list[Receiver] = [Backend(context.loaded)] if settings.backend.url else []
        receivers += [Hook(url, context.loaded) for url in dict.fromkeys(parts_of(settings.webhooks.receivers))]
        self._deliveries = [Deliveries(context, receiver) for receiver in receivers]

    def start(self) -> None:
        """Begin to tell what happens from now on, and what was not taken before."""
        for each in self._deliveries:
            each.start()

    def close(self) -> None:
        """End; what was not taken is told by the next process."""
        for each in self._deliveries:
            each.close()


class Hook(Receiver):
    """A receiver that hears of events, as CloudEvents; after 410 it hears of nothing until the server is started again.

    Args:
        url: of it.
        loaded: types, secrets, and where may be sent to; a file of the secrets is read again when it changes.

    Raises:
        ConfigError: the address is none or may not be sent to, or a secret is none.
    """

    timeout_s = 10.0

    def __init__(self, url: str, loaded: LoadedSettings) -> None:
        from urllib.parse import urlsplit

        from sightline.core.sending import Sender  # an HTTP client, for those alone who have receivers
        from sightline.core.targets import Targets

        settings = loaded.settings
        hooks = settings.webhooks
        self.name = f"hook-{sha256(url.encode()).hexdigest()[:16]}"  # the address may hold a password
        self.types: Sequence[str] = hooks.types
        self.keep = timedelta(hours=hooks.retry_hours)
        self._is_gone = False
        backend = urlsplit(settings.backend.url or "").hostname
        try:
            self._sender = Sender(
                url,
                signers=[],
                headers={},
                timeout_s=self.timeout_s,
                targets=Targets([*hooks.allow, *([backend] if backend else [])]),
            )
        except Forbidden as error:
            raise ConfigError(f"webhooks.receivers: {error.message}", cure=error.cure) from None
        if hooks.secret is not None:
            self._sign_by(hooks.secret)
        file = secret_file(loaded, "webhooks.secret")
        self._file = file and WatchedFile(
            file, read_secret, lambda data: self._sign_by(SecretStr(data.decode("latin-1")))
        )

    def message(self, event: Event) -> Delivery | None:
        """Return the event."""
        return Delivery(id=event.id, receiver=self.name, about=event.subject or "", body=encode_event(event))

    def send(self, delivery: Delivery) -> Answered:
        """Try once, signed by the secrets of this moment."""
        from sightline.core.sending import Answered

        if self._is_gone:
            return Answered(_GONE)
        if self._file:
            self._file.look()
        answered = self._sender.send(delivery.id, to_json(delivery.body), _MEDIA_TYPE)
        self._is_gone = answered.status == _GONE
        return answered

    def close(self) -> None:
        """Close the connections."""
        self._sender.close()

    def _sign_by(self, secret: SecretStr) -> None:
        from sightline.core.sending import signers_of

        self._sender.signers = signers_of(secrets_in(secret, "webhooks.secret"))
