"""The directory as a store."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.errors import Denied, NotFound, Permanent, SharderError, StoreUnfit
from contracts.store import Store, open_store, probe
from contracts.store.local import LocalStore, translate
from tests.fakes.racing import race
from tests.suites.store import StoreSuite, keys


def files(root: Path) -> list[Path]:
    return [p for p in root.rglob("*") if p.is_file()]


def fill_the_disk(root: Path, out: Path) -> None:
    """A process that may not write files of more than 1 MiB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    store = LocalStore(root)
    seen: list[str] = []
    for write in (
        lambda: store.put("a/put", bytes(2 << 20)),
        lambda: store.create("a/create", bytes(2 << 20)),
        lambda: store.open_write("a/stream").write(bytes(2 << 20)),
    ):
        try:
            write()
        except Permanent as error:
            seen.append(f"{error.exit_code:d} {error.message}")
    os.write(os.open(out, os.O_CREAT | os.O_WRONLY), "\n".join(seen).encode())


class TestLocalStore(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return open_store(str(tmp_path / "stage"))

    @pytest.fixture
    def reopen(self) -> Callable[[str], Store]:
        return open_store


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "stage")


def test_of_sixteen_racing_processes_one_creates(store: LocalStore) -> None:
    won = race(store.root, [f"p{n}" for n in range(16)], [f"race/{turn}" for turn in range(20)])
    assert won == {key: [store.get(key).decode()] for key in won}
    assert len(files(store.root)) == len(won) == 20


def test_a_full_disk_is_said_and_leaves_no_half_object(tmp_path: Path) -> None:
    root, out = tmp_path / "stage", tmp_path / "out"
    process = multiprocessing.get_context("spawn").Process(target=fill_the_disk, args=(root, out))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert out.read_text().splitlines() == [
        f"4 cannot write {root}/a/{name}: file too large" for name in ("put", "create", "stream")
    ]
    assert files(root) == []


@pytest.mark.parametrize(
    ("number", "verb", "kind"),
    [
        (errno.ENOSPC, "write", Permanent),
        (errno.EDQUOT, "write", Permanent),
        (errno.EACCES, "read", Denied),
        (errno.EROFS, "write", Denied),
        (errno.ENOENT, "read", NotFound),
        (errno.EIO, "read", Permanent),
    ],
)
def test_errors_of_the_system_become_ours(number: int, verb: str, kind: type[SharderError]) -> None:
    error = translate(OSError(number, os.strerror(number)), verb, "/stage/k")
    assert type(error) is kind
    assert "/stage/k" in str(error)


def test_a_full_disk_says_what_to_do() -> None:
    assert str(translate(OSError(errno.ENOSPC, "No space left on device"), "write", "s/k")) == (
        "cannot write s/k: no space left on device\n"
        "  make room on this disk or raise the quota, or move the stage; then try again"
    )


def test_a_file_in_the_place_of_the_stage_is_said(tmp_path: Path) -> None:
    (tmp_path / "stage").write_text("a file")
    with pytest.raises(Permanent, match="a file is where a directory must be"):
        probe(LocalStore(tmp_path / "stage"))


def test_a_file_in_the_place_of_a_directory_of_the_key_is_said(store: LocalStore) -> None:
    store.put("a", b"1")
    with pytest.raises(Permanent, match="a file is where a directory must be"):
        store.create("a/b", b"2")
    assert files(store.root) == [store.root / "a"]


def test_a_file_system_without_links_is_unfit(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(StoreUnfit, match="no hard links"):
        probe(store)
    assert files(store.root) == []


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/"])
def test_a_key_cannot_leave_the_stage(store: LocalStore, key: str) -> None:
    for use in (store.get, store.open_read, store.open_write, store.local_path):
        with pytest.raises(Permanent, match="not a key"):
            use(key)
    with pytest.raises(Permanent, match="not a key"):
        store.delete([key])


def test_a_prefix_cannot_leave_the_stage(store: LocalStore) -> None:
    with pytest.raises(Permanent, match="not a key"):
        keys(store, "../")


def test_half_written_files_are_not_listed(store: LocalStore) -> None:
    upload = store.open_write("a/b")
    upload.write(b"x" * 100_000)
    assert keys(store) == []
    upload.abort()


def test_what_a_killed_process_left_is_removed_after_a_day(store: LocalStore) -> None:
    left = store.root / ".tmp" / "left"
    fresh = store.root / ".tmp" / "fresh"
    left.parent.mkdir(parents=True)
    for path in (left, fresh):
        path.write_bytes(b"half")
    os.utime(left, (0, 0))
    store.put("k", b"1")
    assert not left.exists()
    assert fresh.exists()


def test_directories_without_objects_are_removed(store: LocalStore) -> None:
    store.put("runs/a/b/c", b"1")
    store.put("runs/d", b"1")
    store.delete(["runs/a/b/c", "runs/x/y"])
    assert sorted(p.name for p in (store.root / "runs").iterdir()) == ["d"]


def test_an_upload_whose_file_was_taken_away_says_so(store: LocalStore) -> None:
    upload = store.open_write("a/b")
    (temporary,) = files(store.root)
    temporary.unlink()
    with pytest.raises(Permanent, match="was removed by someone"):
        upload.close()
    assert keys(store) == []
