from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.core.urls import redacted

# A mark that no host, path or name of a field has, with anything that a person may type around it.
letters = st.text(st.characters(codec="utf-8", exclude_characters="&"), max_size=8)
secrets = st.builds(lambda before, after: f"{before}s3cr3t{after}", letters, letters)
schemes = st.sampled_from(["rtsp", "rtsps", "http", "https", "s3", "postgresql", "mqtt", "srt"])
hosts = st.sampled_from(["camera.local", "10.0.0.5:554", "[2001:db8::1]:80"])
paths = st.sampled_from(["", "/", "/live/1", "/live?channel=1", "/a/b.m3u8?t=10#x"])
secret_fields = st.sampled_from(
    ["password", "pwd", "pass", "api_key", "access_token", "X-Amz-Signature", "X-Amz-Security-Token", "client-secret"]
)


@given(schemes, st.text("abcADMIN09._-", max_size=6), secrets, hosts, paths)
def test_the_password_of_an_address_never_survives(scheme: str, user: str, secret: str, host: str, path: str) -> None:
    shown = redacted(f"{scheme}://{user}:{secret}@{host}{path}")
    assert "s3cr3t" not in shown
    assert shown == f"{scheme}://***@{host}{path}"


@given(
    schemes, hosts, secret_fields, secrets, st.sampled_from(["?", "?channel=1&", "#", "/user=admin&", "/user=admin_"])
)
def test_the_value_of_a_secret_field_never_survives(
    scheme: str, host: str, field: str, secret: str, before: str
) -> None:
    assert "s3cr3t" not in redacted(f"{scheme}://{host}/live{before}{field}={secret}&subtype=0")


@given(st.text("abcADMIN09._-", min_size=2, max_size=6), st.text("abc/?#:@=;", max_size=6), hosts)
def test_a_password_without_a_scheme_does_not_survive(user: str, around: str, host: str) -> None:
    assert "s3cr3t" not in redacted(f"{user}:s3cr3t{around}@{host}/live")


@given(st.text())
def test_no_text_breaks_it_and_twice_is_once(text: str) -> None:
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "clips/street.mp4",
        "0",
        "",
        "nanodet-m@1",
        r"C:\clips\a@b.mp4",
        "rtsp://camera.local:554/live/1",
        "https://[2001:db8::1]:8443/a?channel=1&t=10#frame",
        "s3://bucket/prefix/2026-11-20T12:00:41Z.jpg",
        "http://host/monkey/keys/tokens",
    ],
)
def test_what_holds_no_secret_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text


def test_a_secret_field_hides_its_value_alone() -> None:
    assert redacted("rtsp://h/cam?user=a&password=b&channel=1") == "rtsp://h/cam?user=a&password=***&channel=1"
    assert redacted("rtsp://h:554/user=admin_password=tl_channel=1.sdp") == "rtsp://h:554/user=admin_password=***"


def test_an_address_inside_a_sentence_is_cleaned_too() -> None:
    shown = redacted("Cannot open rtsp://admin:s3cr3t@h/1: connection refused")
    assert shown == "Cannot open rtsp://***@h/1: connection refused"
