import io
import os
import resource
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import obstore
import pytest
from tests.seaweed import S3Server, s3_store, signed

from sightline.adapters.artifacts import ObjectStore
from sightline.core.errors import ConfigError, InvalidInput, NotFound, StorageFull, Unavailable
from sightline.testing.contracts import ArtifactStoreContract


class TestLocalFolder(ArtifactStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        return ObjectStore(str(tmp_path / "artifacts"))

    def test_a_key_is_a_file_in_the_folder(self, store: ObjectStore, tmp_path: Path) -> None:
        store.put("models/a b/model.onnx", b"weights")
        assert (tmp_path / "artifacts/models/a b/model.onnx").read_bytes() == b"weights"

    def test_a_file_url_names_the_same_folder(self, store: ObjectStore, tmp_path: Path) -> None:
        store.put("key", b"-")
        assert list(ObjectStore((tmp_path / "artifacts").as_uri()).list()) == ["key"]

    def test_hidden_and_unfinished_files_are_not_listed(self, store: ObjectStore, tmp_path: Path) -> None:
        store.put("a/key", b"-")
        for name in (".DS_Store", "a/.hidden", "a/.folder/file", "a/key#1"):
            path = tmp_path / "artifacts" / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"-")
        assert list(store.list()) == list(store.list("a/")) == ["a/key"]

    def test_a_failed_put_leaves_no_file_behind(self, store: ObjectStore, tmp_path: Path) -> None:
        with pytest.raises(AttributeError):
            store.put("model.onnx", None)  # type: ignore[arg-type]
        assert list((tmp_path / "artifacts").iterdir()) == []

    def test_old_bytes_stay_readable_while_the_key_is_replaced(self, store: ObjectStore) -> None:
        store.put("key", b"old")
        with store.open("key") as file:
            store.put("key", b"new")
            assert file.read() == b"old"

    def test_a_name_that_is_too_long_is_no_key(self, store: ObjectStore) -> None:
        with pytest.raises(InvalidInput, match="too long"):
            store.put("x" * 300, b"-")

    @pytest.mark.parametrize("key", ["key#1", "a\nb", "a\x7f"])
    def test_what_a_folder_cannot_keep_is_no_key(self, store: ObjectStore, key: str) -> None:
        with pytest.raises(InvalidInput, match="Not a store key"):
            store.put(key, b"-")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_without_permission_is_a_matter_of_settings(self, store: ObjectStore, tmp_path: Path) -> None:
        (tmp_path / "artifacts").chmod(0o500)
        try:
            with pytest.raises(ConfigError, match="refuses"):
                store.put("key", b"-")
        finally:
            (tmp_path / "artifacts").chmod(0o700)

    def test_a_file_in_place_of_the_folder_is_a_matter_of_settings(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"-")
        with pytest.raises(ConfigError, match="file"):
            ObjectStore(str(tmp_path / "file" / "below"))

    def test_memory_does_not_grow_with_the_file(self, store: ObjectStore) -> None:
        class Endless(io.BytesIO):
            left = 400 << 20

            def read(self, size: int | None = -1, /) -> bytes:
                size = min(size or 0, self.left)
                self.left -= size
                return bytes(size)

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert store.put("large", Endless()) == 400 << 20
        grown_MiB = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        assert grown_MiB < 150


_FILL = """
import resource, sys
from sightline.adapters.artifacts import ObjectStore
from sightline.core.errors import StorageFull
store = ObjectStore(sys.argv[1])
store.put("kept", b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
for data in (bytes(2 << 20), open("/dev/zero", "rb", buffering=0).read(30 << 20)):
    try:
        store.put("kept", data)
    except StorageFull as error:
        print(error.message, "|", error.cure)
print(list(store.list()), store.open("kept").read())
"""


def test_a_spent_limit_is_told_as_a_full_store(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FILL, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    first, second, last = done.stdout.splitlines()
    assert first == second
    assert first.startswith("There is no room for 'kept'")
    assert first.endswith("| Free some space there.")
    assert last == "['kept'] b'old'"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB; needs the right to mount one."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_named_and_keeps_what_was_there(tiny_disk: Path) -> None:
    store = ObjectStore(str(tiny_disk))
    store.put("kept", b"old")
    for data in (bytes(2 << 20), io.BytesIO(bytes(20 << 20))):
        with pytest.raises(StorageFull, match="no room for 'kept'"):
            store.put("kept", data)
    assert list(store.list()) == ["kept"]
    with store.open("kept") as file:
        assert file.read() == b"old"
    store.put("small", b"there is room again")


class TestMemory(ArtifactStoreContract):
    @pytest.fixture
    def store(self) -> ObjectStore:
        return ObjectStore("memory://")

    def test_two_stores_share_nothing(self, store: ObjectStore) -> None:
        store.put("key", b"-")
        assert list(ObjectStore("memory://").list()) == []


@pytest.mark.service("s3")
class TestS3(ArtifactStoreContract):
    @pytest.fixture
    def prefix(self) -> str:
        return f"team-{uuid.uuid4().hex}"

    @pytest.fixture
    def store(self, bucket: str, prefix: str, s3_server: S3Server) -> ObjectStore:
        return s3_store(f"s3://{bucket}/{prefix}", s3_server)

    def test_a_prefix_keeps_stores_apart(
        self, store: ObjectStore, bucket: str, prefix: str, s3_server: S3Server
    ) -> None:
        store.put("key", b"-")
        assert list(s3_store(f"s3://{bucket}/{prefix}-b", s3_server).list()) == []
        assert list(s3_store(f"s3://{bucket}", s3_server).list(prefix)) == [f"{prefix}/key"]

    def test_more_keys_than_fit_in_one_answer_are_listed(self, store: ObjectStore) -> None:
        names = [f"many/{number:04}" for number in range(1100)]
        for name in names:
            obstore.put(store._store, name, b"")
        assert list(store.list("many/")) == names

    def test_another_client_sees_the_same_bytes(
        self, store: ObjectStore, bucket: str, prefix: str, s3_server: S3Server
    ) -> None:
        store.put("folder/a b", io.BytesIO(bytes(20 << 20)))
        with urllib.request.urlopen(signed(s3_server, "GET", bucket, f"{prefix}/folder/a b"), timeout=30) as answer:
            assert answer.read() == bytes(20 << 20)

    def test_a_wrong_password_is_a_matter_of_settings(self, bucket: str, s3_server: S3Server) -> None:
        stranger = s3_store(f"s3://{bucket}", s3_server, secret_key="wrong")
        for act in (lambda: stranger.put("key", b"-"), lambda: stranger.open("key"), lambda: list(stranger.list())):
            with pytest.raises(ConfigError, match="refuses") as caught:
                act()
            assert "wrong" not in str(caught.value)

    def test_an_absent_key_is_not_found_and_its_bucket_is_nobodys_business(self, store: ObjectStore) -> None:
        with pytest.raises(NotFound, match=r"^Nothing is stored at 'absent'\.$"):
            store.size("absent")

    def test_a_missing_bucket_is_a_matter_of_settings(self, s3_server: S3Server) -> None:
        with pytest.raises(ConfigError, match="does not exist"):
            list(s3_store("s3://no-such-bucket", s3_server).list("folder/"))
        for act in ("open", "size", "checksum"):
            with pytest.raises(ConfigError, match="does not exist"):
                getattr(s3_store("s3://no-such-bucket", s3_server), act)("key")
        with pytest.raises(ConfigError, match="does not exist"):
            s3_store("s3://no-such-bucket", s3_server).put("key", b"-")


def test_a_dead_server_is_unavailable_soon() -> None:
    dead = ObjectStore(
        "s3://bucket",
        endpoint="http://127.0.0.1:9",
        access_key="a",
        secret_key="b",
        allow_http=True,
        patience=timedelta(seconds=1),
    )
    for act in (lambda: dead.open("key"), lambda: dead.put("key", b"-"), lambda: list(dead.list())):
        with pytest.raises(Unavailable, match="does not answer"):
            act()


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("ftp://host/folder", {}, "cannot be kept"),
        ("s3://", {}, "No bucket"),
        ("s3://me:pass@bucket", {}, "No bucket"),
        ("s3://bucket", {"endpoint": "http://127.0.0.1:9000"}, "no TLS"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_secrets(
    url: str, options: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        ObjectStore(url, **options)  # type: ignore[arg-type]
    assert "pass" not in caught.value.message
