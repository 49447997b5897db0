"""Secrets that everybody knows from published examples: good enough on one machine, refused where others come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr

from sightline.core.errors import ConfigError

if TYPE_CHECKING:
    from sightline.settings import AppSettings

EXAMPLE_TOKEN = "change_me_secure_token"  # noqa: S105 - known from published examples, so it is no secret
EXAMPLE_SECRET = "minioadmin"  # noqa: S105 - what a MinIO has that nobody has set up
_BUT = ", or take it as it is with --insecure (auth.insecure)."


def refuse_examples(passed: bool, *, service_token: str | None = None, secret_key: str | None = None) -> None:
    """Refuse a secret of the examples.

    Args:
        passed: whether they are taken: nobody but this machine can come in, or the operator wants it so.
        service_token: the setting `auth.service_token`.
        secret_key: the setting `s3.secret_key`.

    Raises:
        ConfigError: one is known to everybody.
    """
    if passed:
        return
    if service_token == EXAMPLE_TOKEN:
        raise ConfigError(
            "auth.service_token (ML_SERVICE_TOKEN) is the one of the examples, which everybody knows.",
            cure=f"Make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'{_BUT}",
        )
    if secret_key == EXAMPLE_SECRET:
        raise ConfigError(
            "s3.secret_key (MINIO_SECRET_KEY) is the one of the examples, which everybody knows.",
            cure=f"Give the store a user with a secret of its own{_BUT}",
        )


def refuse_examples_in(settings: AppSettings, *, loopback: bool) -> None:
    """Refuse the secrets of the examples in settings, unless only this machine can come in or `auth.insecure` is set.

    Raises:
        ConfigError: one is known to everybody.
    """
    refuse_examples(
        loopback or settings.auth.insecure,
        service_token=_revealed(settings.auth.service_token),
        secret_key=_revealed(settings.s3.secret_key) if settings.s3.bucket else None,
    )


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
