from __future__ import annotations

import asyncio
import hashlib
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.serve.auth.conftest import MakeGate, MemoryKeys, Turned, until

from sightline.core.access import Scope
from sightline.core.errors import ConfigError, Forbidden, RateLimited, Unauthenticated, Unavailable
from sightline.serve.auth import gate as gate_module
from sightline.serve.auth.credentials import challenge
from sightline.serve.auth.examples import EXAMPLE_TOKEN
from sightline.serve.auth.keys import digest_of, first_key, id_of

SERVICE = "a-long-and-random-service-token"


@pytest.mark.parametrize("how", ["Bearer {}", "bearer  {} ", "BEARER {}"])
def test_a_key_is_taken_as_a_bearer(make_gate: MakeGate, keys: MemoryKeys, how: str) -> None:
    key = keys.make(Scope.INFER, project="yard")
    gate = make_gate()
    gate.refresh()

    caller = gate.admit(how.format(key), None, Scope.INFER)

    assert (caller.id, caller.project, caller.scopes) == (id_of(key), "yard", frozenset({Scope.INFER}))


def test_a_key_is_taken_from_its_own_header_also_beside_another_scheme(make_gate: MakeGate, keys: MemoryKeys) -> None:
    key = keys.make(Scope.READ)
    gate = make_gate()
    gate.refresh()

    assert gate.admit(None, key, Scope.READ).id == id_of(key)
    assert gate.admit("", key, Scope.READ).id == id_of(key)
    assert gate.admit("Basic dXNlcjpwYXNz", key, Scope.READ).id == id_of(key)


@pytest.mark.parametrize(
    ("authorization", "api_key"),
    [
        (None, None),
        ("", ""),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic dXNlcjpwYXNz", None),
        ("Bearer nonsense", None),
        ("Bearer sl_", None),
        ("Bearer sl_abcdefgh", None),
        ("Bearer sl_abcdefgh_", None),
        ("Bearer sl_abcdefgh_" + "x" * 40, None),
        ("Bearer a.b.c", None),
        ("Bearer \u00e4\u00f6\u00fc", None),
        ("Bearer \udcff", None),
        (None, "x" * 9000),
        (None, "\x00"),
    ],
)
def test_who_shows_nothing_that_is_known_is_refused(
    make_gate: MakeGate, authorization: str | None, api_key: str | None
) -> None:
    gate = make_gate(service_token=SERVICE)
    gate.refresh()

    with pytest.raises(Unauthenticated) as refused:
        gate.admit(authorization, api_key, Scope.READ)

    assert refused.value.cure
    assert (authorization or "nothing") not in str(refused.value)


@pytest.mark.parametrize("change", [lambda key: key[:-1], lambda key: key + "x", lambda key: key[:-1] + "-", str.upper])
def test_a_key_with_another_secret_is_refused(make_gate: MakeGate, keys: MemoryKeys, change: object) -> None:
    key = keys.make(Scope.READ)
    gate = make_gate()
    gate.refresh()

    with pytest.raises(Unauthenticated):
        gate.admit(f"Bearer {change(key)}", None, Scope.READ)  # type: ignore[operator]


def test_an_expired_key_and_a_revoked_one_are_refused_and_say_so(
    make_gate: MakeGate, keys: MemoryKeys, clock: Turned
) -> None:
    short, other = keys.make(Scope.READ, expires=datetime.now(UTC) + timedelta(minutes=5)), keys.make(Scope.READ)
    gate = make_gate()
    gate.refresh()
    gate.admit(None, short, Scope.READ)
    gate.admit(None, other, Scope.READ)

    clock.s += 301
    keys.revoke(id_of(other))
    gate.refresh()

    with pytest.raises(Unauthenticated, match="has expired"):
        gate.admit(None, short, Scope.READ)
    with pytest.raises(Unauthenticated, match="was revoked"):
        gate.admit(None, other, Scope.READ)


def test_several_keys_live_at_once_and_each_has_its_own_scopes(make_gate: MakeGate, keys: MemoryKeys) -> None:
    made = {scope: keys.make(scope) for scope in Scope}
    gate = make_gate()
    gate.refresh()

    for held, key in made.items():
        for needed in Scope:
            if held in (needed, Scope.ADMIN):
                assert gate.admit(None, key, needed).scopes == {held}
            else:
                with pytest.raises(Forbidden, match=needed):
                    gate.admit(None, key, needed)


def test_a_service_token_may_all_but_administer(make_gate: MakeGate) -> None:
    gate = make_gate(service_token=SERVICE)

    for scope in (Scope.READ, Scope.INFER, Scope.MANAGE):
        assert gate.admit(f"Bearer {SERVICE}", None, scope).id == "service"
    with pytest.raises(Forbidden):
        gate.admit(None, SERVICE, Scope.ADMIN)
    with pytest.raises(Unauthenticated):
        gate.admit(None, SERVICE[:-1], Scope.READ)


def test_the_service_token_of_the_examples_is_refused_outside_loopback(make_gate: MakeGate) -> None:
    with pytest.raises(ConfigError, match="everybody knows"):
        make_gate(service_token=EXAMPLE_TOKEN)

    gate = make_gate(service_token=EXAMPLE_TOKEN, loopback=True)
    assert gate.admit(None, EXAMPLE_TOKEN, Scope.READ).id == "service"


def test_a_service_token_that_no_header_holds_is_refused_and_a_short_one_warned_of(make_gate: MakeGate) -> None:
    for token in ("two words of it all", "sch\u00f6nes-wort-lang-genug", "new\nline-and-long-enough"):
        with pytest.raises(ConfigError, match="header"):
            make_gate(service_token=token)
    assert any("fewer than 16" in line for line in make_gate(service_token="short").warnings())


def test_what_is_open_asks_for_nothing_and_gives_nothing(make_gate: MakeGate) -> None:
    caller = make_gate().admit("Bearer forged", None, None)

    assert caller.id == "anonymous"
    assert not any(caller.may(scope) for scope in Scope)


def test_where_nobody_is_asked_everybody_may_all_and_is_not_counted(make_gate: MakeGate, keys: MemoryKeys) -> None:
    gate = make_gate(required=False, loopback=True, rate_per_minute=1)
    gate.start()

    assert all(gate.admit(None, None, scope).id == "anonymous" for scope in Scope for _ in range(5))
    assert gate.warnings() == []
    assert keys.num_listed == 0


def test_a_public_server_that_asks_nobody_warns(make_gate: MakeGate) -> None:
    (line,) = make_gate(required=False, mode="off").warnings()

    assert "auth.mode is off" in line


def test_each_key_has_its_own_rate(make_gate: MakeGate, keys: MemoryKeys) -> None:
    one, other = keys.make(Scope.READ), keys.make(Scope.READ)
    gate = make_gate(rate_per_minute=3)
    gate.refresh()

    for _ in range(3):
        gate.admit(None, one, Scope.READ)
    with pytest.raises(RateLimited) as limited:
        gate.admit(None, one, Scope.READ)

    assert 0 < limited.value.retry_after_s <= 20
    gate.admit(None, other, Scope.READ)
    gate.admit(None, one, Scope.READ, counted=False)


def test_a_key_made_elsewhere_works_and_a_revoked_one_ceases_within_two_seconds(
    make_gate: MakeGate, keys: MemoryKeys
) -> None:
    gate = make_gate()
    gate.start()
    key = keys.make(Scope.READ)

    def works() -> bool:
        try:
            return gate.admit(None, key, Scope.READ).may(Scope.READ)
        except (Unauthenticated, Unavailable):
            return False

    assert gate_module._KEYS_EVERY_S <= 1
    assert until(works)
    keys.revoke(id_of(key))
    assert until(lambda: not works())


def test_an_unknown_key_is_looked_up_once_before_it_is_refused(
    make_gate: MakeGate, keys: MemoryKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "_KEYS_EVERY_S", 3600)
    gate = make_gate()
    gate.start()
    assert until(lambda: not gate.is_settling)
    key = keys.make(Scope.READ)

    before = keys.num_listed
    caller = asyncio.run(gate.admitted(None, key, Scope.READ))

    assert caller.id == id_of(key)
    assert keys.num_listed == before + 1


def test_a_flood_of_unknown_keys_does_not_become_a_flood_of_look_ups(make_gate: MakeGate, keys: MemoryKeys) -> None:
    gate = make_gate()
    gate.start()
    assert until(lambda: not gate.is_settling)

    async def flood() -> list[BaseException | object]:
        asked = [gate.admitted(None, f"sl_{number:08}_{'x' * 40}", Scope.READ) for number in range(500)]
        return await asyncio.gather(*asked, return_exceptions=True)

    before, begin_s = keys.num_listed, time.monotonic()
    answers = asyncio.run(flood())

    assert all(isinstance(answer, Unauthenticated) for answer in answers)
    assert keys.num_listed - before <= 2 + 5 * (time.monotonic() - begin_s)


def test_requests_wait_for_the_first_reading_of_the_keys(make_gate: MakeGate, keys: MemoryKeys) -> None:
    key = keys.make(Scope.READ)
    keys.slow_s = 0.2
    gate = make_gate()

    with pytest.raises(Unavailable, match="could not be read yet"):
        gate.admit(None, key, Scope.READ)
    gate.start()
    assert asyncio.run(gate.admitted(None, key, Scope.READ)).id == id_of(key)


def test_known_keys_outlive_their_store_and_the_trouble_is_told_once(make_gate: MakeGate, keys: MemoryKeys) -> None:
    key = keys.make(Scope.READ)
    gate = make_gate()
    gate.refresh()
    keys.broken = True

    with capture_logs() as lines:
        gate.refresh()
        gate.refresh()
        told = gate.warnings()
        keys.broken = False
        gate.refresh()

    assert gate.admit(None, key, Scope.READ).id == id_of(key)
    assert len(told) == 1
    assert "API keys" in told[0]
    assert [line["event"] for line in lines] == ["auth source failed", "auth source works again"]
    assert gate.warnings() == []


def test_a_secret_in_a_file_is_exchanged_without_a_restart(make_gate: MakeGate, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{SERVICE}\n")
    gate = make_gate(service_token=SERVICE, files={"service_token": file})
    gate.admit(None, SERVICE, Scope.READ)

    file.write_text("another-long-service-token\r\n")
    gate.refresh()

    assert gate.admit(None, "another-long-service-token", Scope.READ).id == "service"
    with pytest.raises(Unauthenticated):
        gate.admit(None, SERVICE, Scope.READ)
    file.write_text("")
    gate.refresh()
    assert any("auth.service_token" in line for line in gate.warnings())
    gate.admit(None, "another-long-service-token", Scope.READ)


def test_the_first_key_may_all_and_is_made_once(make_gate: MakeGate, keys: MemoryKeys) -> None:
    key = first_key(keys)

    assert key is not None
    assert first_key(keys) is None
    gate = make_gate()
    gate.refresh()
    assert gate.admit(None, key, Scope.ADMIN).may(Scope.MANAGE)
    keys.revoke(id_of(key))
    assert first_key(keys) is not None


def test_only_the_digest_of_a_key_is_kept(keys: MemoryKeys) -> None:
    key = keys.make(Scope.READ)
    (kept,) = keys.list()

    secret = key.split("_")[2]
    assert len(secret) >= 32
    assert secret not in repr(kept)
    assert kept.digest == digest_of(key) == hashlib.sha256(key.encode()).hexdigest()


def test_a_refusal_says_how_to_ask() -> None:
    assert challenge(Unauthenticated("x"), shown=False) == 'Bearer realm="sightline"'
    assert challenge(Unauthenticated("x"), shown=True) == 'Bearer realm="sightline", error="invalid_token"'
    assert challenge(Forbidden("x"), shown=True) == 'Bearer realm="sightline", error="insufficient_scope"'


def test_no_key_and_no_token_is_logged(make_gate: MakeGate, keys: MemoryKeys) -> None:
    gate = make_gate(service_token=SERVICE)
    key = keys.make(Scope.READ)
    with capture_logs() as lines:
        gate.refresh()
        for shown in (key, SERVICE, key[:-1] + "x", "sl_unknown0_" + "x" * 40):
            try:
                gate.admit(f"Bearer {shown}", None, Scope.READ)
            except Unauthenticated as refused:
                assert shown not in f"{refused} {refused.cure}"  # noqa: PT017 - either way it must not be told
        keys.broken = True
        gate.refresh()

    assert lines
    assert not any(key in str(line) or SERVICE in str(line) for line in lines)
