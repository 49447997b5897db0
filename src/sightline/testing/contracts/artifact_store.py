"""What every ArtifactStore does."""

from __future__ import annotations

import hashlib
import io
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sightline.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from sightline.core.ports import ArtifactStore

_LARGE = 20 << 20  # bytes; more than one piece of any adapter


class ArtifactStoreContract(ABC):
    """Inherit, provide a `store` fixture that returns an empty store, and run pytest."""

    @abstractmethod
    @pytest.fixture
    def store(self) -> Any:
        """Return an empty store."""

    def test_what_was_put_comes_back(self, store: ArtifactStore) -> None:
        assert store.put("models/person/1/model.onnx", b"weights") == 7
        with store.open("models/person/1/model.onnx") as file:
            assert file.read() == b"weights"
        assert store.size("models/person/1/model.onnx") == 7

    def test_putting_twice_keeps_the_last(self, store: ArtifactStore) -> None:
        store.put("report.json", b"old and long")
        store.put("report.json", b"new")
        assert _read(store, "report.json") == b"new"

    def test_empty_data_is_data(self, store: ArtifactStore) -> None:
        assert store.put("empty", b"") == 0
        assert store.put("empty-too", io.BytesIO()) == 0
        assert _read(store, "empty") == _read(store, "empty-too") == b""
        assert list(store.list()) == ["empty", "empty-too"]

    def test_a_large_stream_is_read_in_pieces_from_where_it_stands(self, store: ArtifactStore) -> None:
        data = _pattern(_LARGE)
        stream = _Watched(data)
        stream.seek(5)
        assert store.put("large", stream) == _LARGE - 5
        assert stream.largest <= _LARGE // 2, "the stream was read as a whole"
        assert store.size("large") == _LARGE - 5
        assert _read(store, "large") == data[5:]

    def test_a_stream_that_gives_little_at_a_time_is_taken_whole(self, store: ArtifactStore) -> None:
        assert store.put("trickle", _Trickle(b"abcdefgh" * 100)) == 800
        assert _read(store, "trickle") == b"abcdefgh" * 100

    def test_a_stream_can_be_read_anywhere(self, store: ArtifactStore) -> None:
        data = _pattern(3 << 20)
        store.put("seek", data)
        with store.open("seek") as file:
            assert file.seekable()
            assert file.readable()
            assert file.seek(-10, io.SEEK_END) == len(data) - 10
            assert file.read() == data[-10:]
            assert file.read(1) == b""
            assert file.seek(1 << 20) == 1 << 20
            assert file.read(100) == data[1 << 20 : (1 << 20) + 100]
            assert file.tell() == (1 << 20) + 100
            assert file.seek(-50, io.SEEK_CUR) == (1 << 20) + 50
            assert file.read(2 << 20) == data[(1 << 20) + 50 :][: 2 << 20]
            file.seek(len(data) + 100)
            assert file.read(5) == b""

    def test_a_put_that_fails_leaves_what_was_there(self, store: ArtifactStore) -> None:
        store.put("kept", b"old")
        with pytest.raises(RuntimeError, match="cable"):
            store.put("kept", _Broken(_LARGE))
        with pytest.raises(RuntimeError, match="cable"):
            store.put("never", _Broken(_LARGE))
        assert _read(store, "kept") == b"old"
        assert list(store.list()) == ["kept"]

    def test_a_reader_never_sees_a_mixture_of_old_and_new(self, store: ArtifactStore) -> None:
        old, new = b"o" * (4 << 20), b"n" * (4 << 20)
        store.put("changed", old)
        with store.open("changed") as file:
            seen = file.read(10)
            store.put("changed", new)
            with suppress(Unavailable):  # to refuse is as good as to give the old bytes
                seen += file.read()
            assert set(seen) == {ord("o")}

    def test_entries_tell_size_and_age_in_the_order_of_the_keys(self, store: ArtifactStore) -> None:
        before = datetime.now(UTC) - timedelta(seconds=2)  # stores count whole seconds
        store.put("media/b", b"-" * 7)
        store.put("media/a", b"")
        store.put("other", b"-")
        found = list(store.entries("media/"))
        assert [(entry.key, entry.num_bytes) for entry in found] == [("media/a", 0), ("media/b", 7)]
        assert all(entry.modified is None or before <= entry.modified <= datetime.now(UTC) for entry in found)
        assert [entry.key for entry in store.entries()] == list(store.list())

    def test_a_checksum_that_is_kept_is_that_of_what_was_put(self, store: ArtifactStore) -> None:
        for key, data in (("small", b"a few bytes"), ("empty", b""), ("large", _pattern(_LARGE))):
            for source in (data, io.BytesIO(data)):
                store.put(key, source)
                assert store.checksum(key) in {None, hashlib.sha256(data).hexdigest()}
        store.put("large", b"small now")
        assert store.checksum("large") in {None, hashlib.sha256(b"small now").hexdigest()}
        with pytest.raises(NotFound, match="absent/key"):
            store.checksum("absent/key")

    def test_what_is_absent_is_named(self, store: ArtifactStore) -> None:
        with pytest.raises(NotFound, match="absent/key"):
            store.open("absent/key")
        with pytest.raises(NotFound, match="absent/key"):
            store.size("absent/key")

    def test_a_folder_is_no_key(self, store: ArtifactStore) -> None:
        store.put("folder/key", b"-")
        with pytest.raises(NotFound, match="folder"):
            store.open("folder")
        with pytest.raises(NotFound, match="folder"):
            store.size("folder")
        with pytest.raises(NotFound, match="folder/key/below"):
            store.open("folder/key/below")
        store.delete("folder")
        store.delete("folder/key/below")
        assert list(store.list()) == ["folder/key"]

    def test_no_key_is_the_folder_of_another(self, store: ArtifactStore) -> None:
        store.put("a/b", b"-")
        for key in ("a", "a/b/c", "a/b/c/d"):
            with pytest.raises(Conflict, match="folder"):
                store.put(key, b"-")
            with pytest.raises(Conflict, match="folder"):
                store.put(key, io.BytesIO(b"-" * _LARGE))
        assert list(store.list()) == ["a/b"]

    def test_the_name_of_a_folder_is_free_again_when_its_keys_are_gone(self, store: ArtifactStore) -> None:
        store.put("a/b/c", b"-")
        store.delete("a/b/c")
        store.put("a", b"-")
        with pytest.raises(Conflict, match="folder"):
            store.put("a/b/c", b"-")
        assert list(store.list()) == ["a"]

    def test_list_is_sorted_and_filtered_by_prefix(self, store: ArtifactStore) -> None:
        for key in ("runs/b", "runs/a", "runs-old/c", "runs.txt", "models/x"):
            store.put(key, b"-")
        assert list(store.list()) == ["models/x", "runs-old/c", "runs.txt", "runs/a", "runs/b"]
        assert list(store.list("runs/")) == ["runs/a", "runs/b"]
        assert list(store.list("runs")) == ["runs-old/c", "runs.txt", "runs/a", "runs/b"]
        assert list(store.list("runs/a")) == ["runs/a"]
        assert list(store.list("nothing/")) == []

    def test_delete_is_idempotent(self, store: ArtifactStore) -> None:
        store.put("gone", b"-")
        store.delete("gone")
        store.delete("gone")
        assert list(store.list()) == []

    @pytest.mark.parametrize(
        "key", ["", "/etc/passwd", "../other", "a/../b", "a//b", "a/", ".a", "a/.b", "a\\b", "a\0"]
    )
    def test_a_key_cannot_leave_the_store(self, store: ArtifactStore, key: str) -> None:
        for act in (lambda: store.put(key, b"-"), lambda: store.open(key), lambda: store.size(key)):
            with pytest.raises(InvalidInput, match="Not a store key"):
                act()
        with pytest.raises(InvalidInput, match="Not a store key"):
            store.delete(key)

    @pytest.mark.parametrize("key", ["a b/%41%2F.txt", "Straße/видео-01", "q?x=1&y", "a#b", "[x]{y}*~"])
    def test_keys_may_hold_any_letters(self, store: ArtifactStore, key: str) -> None:
        store.put(key, key.encode())
        assert _read(store, key) == key.encode()
        assert list(store.list()) == [key]

    def test_several_threads_write_and_read(self, store: ArtifactStore) -> None:
        def write_and_read(number: int) -> bytes:
            store.put(f"threads/{number}", b"%d" % number)
            store.put("threads/shared", b"x" * 1000)
            return _read(store, f"threads/{number}")

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(write_and_read, range(24))) == [b"%d" % number for number in range(24)]
        assert _read(store, "threads/shared") == b"x" * 1000


def _read(store: ArtifactStore, key: str) -> bytes:
    with store.open(key) as file:
        return file.read()


def _pattern(num_bytes: int) -> bytes:
    """Return bytes in which every position differs from its neighbours."""
    return b"".join(number.to_bytes(4, "big") for number in range(num_bytes // 4))


class _Watched(io.BytesIO):
    """Remembers how much was asked of it at once."""

    largest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.largest = max(self.largest, len(data))
        return data


class _Trickle(io.BytesIO):
    """Gives at most seven bytes at a time, as a socket may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 7))


class _Broken(io.BytesIO):
    """Breaks off after `num_bytes`."""

    def __init__(self, num_bytes: int) -> None:
        super().__init__(b"b" * num_bytes)

    def read(self, size: int | None = -1, /) -> bytes:
        if data := super().read(size):
            return data
        raise RuntimeError("the cable was pulled")
