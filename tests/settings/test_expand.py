"""`${NAME}` in texts."""

from __future__ import annotations

import pytest

from sightline.core.errors import ConfigError
from sightline.settings import expand

ENVIRON = {"HOST": "camera", "EMPTY": "", "TRICKY": "${HOST} $${HOST}"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain $HOST $ {HOST} }", "plain $HOST $ {HOST} }"),
        ("rtsp://${HOST}/${CASE}", "rtsp://camera/door"),
        ("${HOST}${HOST}", "cameracamera"),
        ("${GONE:-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("${GONE:-}", ""),
        ("${HOST:-other}", "camera"),
        ("${GONE:-a:-b}", "a:-b"),
        ("$${HOST} and ${HOST}", "${HOST} and camera"),
        ("${TRICKY}", "${HOST} $${HOST}"),
        ("${BLANK}", ""),
    ],
)
def test_variables_are_put_in_once(text: str, expanded: str) -> None:
    assert expand(text, {"CASE": "door", "BLANK": ""}, ENVIRON) == expanded


def test_variables_win_over_the_environment() -> None:
    assert expand("${HOST}", {"HOST": "mine"}, ENVIRON) == "mine"


@pytest.mark.parametrize("text", ["${GONE}", "${EMPTY}"])
def test_an_unset_variable_is_an_error_with_a_cure(text: str) -> None:
    with pytest.raises(ConfigError, match="is not set") as caught:
        expand(f"x {text}", {}, ENVIRON, location="case.yaml:3")
    assert caught.value.location == "case.yaml:3"
    assert "or write ${" in caught.value.cure


@pytest.mark.parametrize("text", ["${HOST", "${}", "${a b}", "${1X}", "${A${HOST}}", "${HOST-x}"])
def test_a_malformed_variable_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="Not a variable"):
        expand(text, {}, ENVIRON)
