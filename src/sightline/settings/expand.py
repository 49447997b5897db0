"""`${NAME}` in texts: the one place where variables are put in."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sightline.core.errors import ConfigError

_VARIABLE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def expand(text: str, variables: Mapping[str, str], environ: Mapping[str, str], *, location: str = "") -> str:
    """Return `text` with each `${NAME}` replaced by what `variables`, else `environ`, call so.

    `${NAME:-default}` gives the default where the name is unknown or empty, `$${` a plain `${`. What was put in is not
    looked at again, so a password with `${` in it stays what it is.

    Raises:
        ConfigError: a name is unknown or empty and has no default, or a `${` has no end; `location` says where.
    """

    def value(match: re.Match[str]) -> str:
        if match.group() == "$${":
            return "${"
        name, has_default, default = (match.group(1) or "").partition(":-")
        if not _NAME.fullmatch(name):
            raise ConfigError(
                "Not a variable: behind ${ belong a name and }.",  # without the text, which may be a password
                cure="Write ${NAME} or ${NAME:-default}; $${ for a plain ${.",
                location=location,
            )
        found = variables.get(name) or environ.get(name) or (default if has_default else variables.get(name))
        if found is None:
            raise ConfigError(
                f"The variable {name} is not set.",
                cure=f"Set {name} in the environment or in .env, or write ${{{name}:-default}}.",
                location=location,
            )
        return found

    return _VARIABLE.sub(value, text)
