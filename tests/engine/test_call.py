from __future__ import annotations

from threading import Thread

import pytest

from sightline.engine.call import Call, Priority, calling, current_call


def test_without_anybody_saying_so_a_call_is_a_request_without_limits() -> None:
    call = current_call()
    assert (call.priority, call.deadline_s, call.cancelled) == (Priority.REQUEST, None, None)


def fail_as_a_stream(seen: list[Priority]) -> None:
    with calling(Call(priority=Priority.STREAM)):
        seen.append(current_call().priority)
        raise ValueError("x")


def test_a_call_holds_inside_its_block_and_ends_with_it_even_by_an_error() -> None:
    seen: list[Priority] = []
    with calling(Call(priority=Priority.JOB)) as outer:
        with pytest.raises(ValueError, match="x"):
            fail_as_a_stream(seen)
        assert current_call() is outer
    assert seen == [Priority.STREAM]
    assert current_call().priority is Priority.REQUEST


def test_threads_do_not_see_one_anothers_call() -> None:
    seen: list[Priority] = []
    with calling(Call(priority=Priority.JOB)):
        thread = Thread(target=lambda: seen.append(current_call().priority))
        thread.start()
        thread.join()
    assert seen == [Priority.REQUEST]


def test_versions_are_noted_once_in_the_order_of_first_use() -> None:
    call = Call()
    for version in ("b@1", "a@2", "b@1"):
        call.note(version)
    assert call.versions == ["b@1", "a@2"]
