"""What every Store does. Bind it in a class with a fixture `store`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts import layout
from contracts.errors import NotFound, Permanent
from contracts.store import Store, probe

MEBIBYTE = 1 << 20


def keys(store: Store, prefix: str = "", after: str = "") -> list[str]:
    return [entry.key for entry in store.list(prefix, after)]


class StoreSuite:
    def test_an_object_comes_back_as_it_was_written(self, store: Store) -> None:
        data = bytes(range(256)) * 10
        store.put("a/b.json", data)
        assert store.get("a/b.json") == data

    def test_an_object_may_be_empty(self, store: Store) -> None:
        store.put("a/empty", b"")
        assert store.get("a/empty") == b""
        with store.open_read("a/empty") as reader:
            assert reader.read() == b""

    def test_put_overwrites(self, store: Store) -> None:
        store.put("k", b"old and longer")
        store.put("k", b"new")
        assert store.get("k") == b"new"

    def test_a_missing_object_is_not_found(self, store: Store) -> None:
        with pytest.raises(NotFound, match="runs/none"):
            store.get("runs/none")
        with pytest.raises(NotFound, match="runs/none"):
            store.open_read("runs/none")

    def test_a_key_below_an_object_or_a_prefix_is_not_found(self, store: Store) -> None:
        store.put("a/b", b"1")
        for key in ("a", "a/b/c"):
            with pytest.raises(NotFound):
                store.get(key)

    def test_only_the_first_create_wins(self, store: Store) -> None:
        assert store.create("commits/1.json", b"first")
        assert not store.create("commits/1.json", b"second")
        assert store.get("commits/1.json") == b"first"

    def test_a_create_does_not_win_over_a_put(self, store: Store) -> None:
        store.put("k", b"put")
        assert not store.create("k", b"create")
        assert store.get("k") == b"put"

    def test_a_deleted_key_can_be_created_again(self, store: Store) -> None:
        store.create("k", b"1")
        store.delete(["k"])
        assert store.create("k", b"2")
        assert store.get("k") == b"2"

    @pytest.mark.parametrize("turn", range(5))
    def test_of_sixteen_racing_creators_one_wins_and_its_object_stays(
        self, store: Store, turn: int
    ) -> None:
        key = f"race/{turn}"
        start = threading.Barrier(16)

        def create(name: bytes) -> bytes | None:
            start.wait()
            return name if store.create(key, name) else None

        with ThreadPoolExecutor(16) as pool:
            won = list(pool.map(create, [b"%d" % n for n in range(16)]))
        assert [name for name in won if name] == [store.get(key)]

    def test_a_streamed_object_appears_whole_on_close_and_not_before(self, store: Store) -> None:
        upload = store.open_write("data/part")
        block = os.urandom(MEBIBYTE)
        for _ in range(20):
            assert upload.write(block) == MEBIBYTE
        assert keys(store, "data/") == []
        upload.close()
        assert store.get("data/part") == block * 20
        assert [e.size for e in store.list("data/")] == [20 * MEBIBYTE]

    def test_a_streamed_object_may_have_no_bytes(self, store: Store) -> None:
        store.open_write("data/none").close()
        assert store.get("data/none") == b""

    def test_a_streamed_object_replaces_an_older_one(self, store: Store) -> None:
        store.put("data/x", b"old")
        upload = store.open_write("data/x")
        upload.write(memoryview(b"new"))
        assert store.get("data/x") == b"old"
        upload.close()
        assert store.get("data/x") == b"new"

    @pytest.mark.parametrize("size", [0, 1000, 20 * MEBIBYTE])
    def test_an_aborted_upload_leaves_nothing(self, store: Store, size: int) -> None:
        upload = store.open_write("data/part")
        upload.write(bytes(size))
        upload.abort()
        assert keys(store) == []
        with pytest.raises(NotFound):
            store.get("data/part")

    def test_ranges_are_read_wherever_they_lie(self, store: Store) -> None:
        data = os.urandom(3 * MEBIBYTE)
        store.put("k", data)
        with store.open_read("k") as reader:
            assert reader.seekable()
            assert reader.seek(-10, os.SEEK_END) == len(data) - 10
            assert reader.read() == data[-10:]
            assert reader.read() == b""
            reader.seek(MEBIBYTE - 5)
            assert reader.read(10) == data[MEBIBYTE - 5 : MEBIBYTE + 5]
            assert reader.tell() == MEBIBYTE + 5
            # Over the border of what came with the first request.
            reader.seek(-(64 << 10) - 7, os.SEEK_END)
            assert reader.read(20) == data[len(data) - (64 << 10) - 7 :][:20]
            reader.seek(0)
            assert reader.read() == data

    @pytest.mark.parametrize("rows", [0, 1, 200_000])
    def test_parquet_is_written_and_read_through_the_store(self, store: Store, rows: int) -> None:
        table = pa.table(
            {"n": pa.array(range(rows), pa.int64()), "s": ["é" * (i % 9) for i in range(rows)]}
        )
        upload = store.open_write("data/t.parquet")
        sink = _Sink(upload.write)
        pq.write_table(table, sink, row_group_size=50_000)
        upload.close()
        with store.open_read("data/t.parquet") as raw, pq.ParquetFile(raw) as file:
            assert file.read().equals(table.cast(file.schema_arrow))
            if rows > 100_000:
                assert file.read_row_group(1, ["n"]).column("n")[0].as_py() == 50_000

    def test_a_list_is_sorted_by_bytes_and_stays_below_its_prefix(self, store: Store) -> None:
        names = ["b/1", "a/2", "a/10", "a.json", "a/1/x", "ab/1", "a-/1", "a/é", "A/1"]
        for name in names:
            store.put(name, b"1")
        assert keys(store) == sorted(names, key=str.encode)
        assert keys(store, "a/") == sorted((n for n in names if n.startswith("a/")), key=str.encode)
        assert keys(store, "none/") == []
        assert keys(store, "a/2/") == []

    def test_a_list_goes_on_after_any_key_there_or_not(self, store: Store) -> None:
        names = [f"r/{i:02d}/{j}.json" for i in range(4) for j in range(3)]
        for name in names:
            store.put(name, b"1")
        for after in [
            "",
            *names,
            "r/",
            "r/01",
            "r/01/",
            "r/01/~",
            "r/0",
            "q",
            "s",
            "r/01/1.json.x",
        ]:
            assert keys(store, "r/", after) == [n for n in names if n > after], after

    def test_lists_and_deletes_of_several_pages_are_whole(self, store: Store) -> None:
        names = [f"p/{i:05d}" for i in range(1_101)]
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda name: store.put(name, b""), names))
        store.put("q/kept", b"1")
        assert keys(store, "p/") == names
        assert keys(store, "p/", names[1_050]) == names[1_051:]
        store.delete(iter([*names, "p/never-there"]))
        store.delete([])
        assert keys(store) == ["q/kept"]

    def test_folders_are_the_names_directly_below_a_prefix(self, store: Store) -> None:
        for key in (
            "runs/b/x/1",
            "runs/b/x/2",
            "runs/a/1",
            "runs/a-b/c%2Fd/1",
            "runs/object",
            "other/1",
        ):
            store.put(key, b"1")
        assert store.folders("runs/") == ["a", "a-b", "b"]
        assert store.folders("runs/b/") == ["x"]
        assert store.folders("runs/a/") == []
        assert store.folders("nothing/") == []

    def test_entries_tell_size_and_time(self, store: Store) -> None:
        store.put("k", b"12345")
        (entry,) = store.list("")
        assert (entry.key, entry.size) == ("k", 5)
        store.put("other", b"")
        later = {e.key: e.modified_s for e in store.list("")}["other"]
        assert -1 <= later - entry.modified_s < 3600

    @pytest.mark.parametrize(
        "name",
        ["", ".", "..", ".tmp", "a b", "a/b", "a%2Fb", "%", "naïve ☃", "a+b=c&d?e#f", "x" * 200],
    )
    def test_names_that_need_escapes_survive(self, store: Store, name: str) -> None:
        key = layout.history("src", name)
        store.put(key, b"1")
        assert store.create(key + ".c", b"2")
        assert store.get(key) == b"1"
        assert store.get(key + ".c") == b"2"
        assert keys(store, "history/src/") == sorted([key, key + ".c"])
        store.delete([key, key + ".c"])
        assert keys(store) == []

    @pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "a/./b", "../a"])
    def test_a_key_with_an_empty_or_dotted_segment_is_refused(self, store: Store, key: str) -> None:
        for use in (
            lambda: store.get(key),
            lambda: store.put(key, b"1"),
            lambda: store.create(key, b"1"),
            lambda: store.open_write(key),
            lambda: store.open_read(key),
            lambda: store.delete([key]),
        ):
            with pytest.raises(Permanent, match="not a key"):
                use()
        assert keys(store) == []

    def test_the_probe_accepts_it_and_leaves_nothing(self, store: Store) -> None:
        probe(store)
        assert keys(store) == []

    def test_a_local_path_holds_the_object_if_there_is_one(self, store: Store) -> None:
        store.put("a/b", b"here")
        path = store.local_path("a/b")
        assert path is None or path.read_bytes() == b"here"

    def test_the_url_opens_the_same_store(
        self, store: Store, reopen: Callable[[str], Store]
    ) -> None:
        store.put("k", b"1")
        again = reopen(store.url)
        assert again.get("k") == b"1"
        again.close()


class _Sink:
    """A file for pyarrow over an upload: closing it does not publish."""

    closed = False

    def __init__(self, write: Callable[[bytes], int]) -> None:
        self.write = write

    def close(self) -> None:
        self.closed = True

    def flush(self) -> None:
        """Uploads decide themselves when to send."""
