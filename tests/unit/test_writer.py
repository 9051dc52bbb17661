"""Parts: their size, their metadata, which rows may be loaded, and memory that stays bounded."""

from __future__ import annotations

import zlib
from dataclasses import replace
from random import Random

import pyarrow as pa
import pytest

from contracts.stagefile import read_part
from contracts.store.local import LocalStore
from contracts.table import CLIENT_ID, Column, Table, with_cq_columns
from tests.fakes.runs import SYNC_TIME
from tests.fakes.scripted import LOG, PARENT
from worker.stamp import Stamp
from worker.writer import Writer, pieces

PLAIN, INCREMENTAL = with_cq_columns(PARENT), with_cq_columns(LOG)


@pytest.fixture(params=["parquet", "csv"])
def format_(request):
    return request.param


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path)


@pytest.fixture
def writer(store, format_):
    return make(store, format_)


def make(store, format_, part_bytes=1 << 20, **more) -> Writer:
    return Writer(
        store, format_=format_, part_bytes=part_bytes, key=lambda t, n: f"{t}/{n}.{format_}", **more
    )


def batch(table: Table, client: str, keys, text: str = "") -> pa.RecordBatch:
    keys = list(keys)
    raw = pa.record_batch(
        {"k": pa.array(keys, pa.int64()), "v": pa.array([f"{text}{k}" for k in keys])}
    )
    return Stamp(table, "src", SYNC_TIME)(client, raw)


def put(writer: Writer, table: Table, client: str, keys, text: str = "") -> None:
    writer.write(table, client, batch(table, client, keys, text))


def loaded(store, parts, table: Table, format_) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for part in parts:
        for b in read_part(store, part, table, format_):
            for client, key in zip(b[CLIENT_ID].to_pylist(), b["k"].to_pylist(), strict=True):
                found.setdefault(client, []).append(key)
    return found


def test_a_part_says_what_is_in_it(store, writer, format_):
    put(writer, PLAIN, "a", range(3))
    put(writer, PLAIN, "b", range(2))
    writer.confirm("p", "a")
    writer.confirm("p", "b")
    (part,) = writer.close()
    data = store.get(part.key)
    assert (part.rows, part.cells, part.dropped) == (5, {"a": 3, "b": 2}, ())
    assert (part.bytes, part.checksum) == (len(data), f"crc32:{zlib.crc32(data):08x}")
    assert loaded(store, [part], PLAIN, format_) == {"a": [0, 1, 2], "b": [0, 1]}


def test_without_rows_there_is_no_part(store, writer):
    put(writer, PLAIN, "a", [])
    writer.confirm("p", "a")
    assert writer.close() == ()
    assert list(store.list("")) == []


def test_rows_that_were_never_confirmed_are_not_loaded(store, writer, format_):
    put(writer, PLAIN, "a", range(3))
    put(writer, PLAIN, "b", range(2))
    writer.confirm("p", "b")
    (part,) = writer.close()
    assert (part.rows, part.loadable, part.dropped) == (5, 2, ("a",))
    assert loaded(store, [part], PLAIN, format_) == {"b": [0, 1]}


def test_revoked_rows_are_not_loaded(store, writer, format_):
    put(writer, PLAIN, "a", range(3))
    writer.confirm("p", "a")
    writer.revoke("p", "a")
    assert loaded(store, writer.close(), PLAIN, format_) == {}


def test_parts_roll_at_their_size_in_the_store(store, format_):
    writer = make(store, format_, part_bytes=70_000)
    for n in range(20):
        put(writer, PLAIN, "a", range(n * 1000, (n + 1) * 1000), text="a longer text, repeated ")
    writer.confirm("p", "a")
    parts = writer.close()
    assert len(parts) > 2
    assert all(p.bytes >= 70_000 for p in parts[:-1])
    assert max(p.bytes for p in parts) < 250_000
    assert loaded(store, parts, PLAIN, format_) == {"a": list(range(20_000))}


def test_one_huge_batch_becomes_many_parts_too(store, format_):
    writer = make(store, format_, part_bytes=70_000)
    put(writer, PLAIN, "a", range(20_000), text="a longer text, repeated ")
    writer.confirm("p", "a")
    parts = writer.close()
    assert len(parts) > 2
    assert loaded(store, parts, PLAIN, format_) == {"a": list(range(20_000))}


def test_many_checkpoints_make_no_small_files(store, writer, format_):
    for n in range(50):
        put(writer, INCREMENTAL, "a", range(n * 10, n * 10 + 10))
        writer.confirm("log", "a")
    parts = writer.close()
    assert len(parts) == 1
    assert loaded(store, parts, INCREMENTAL, format_) == {"a": list(range(500))}


def test_rows_before_a_checkpoint_stay_and_rows_behind_it_go(store, writer, format_):
    put(writer, INCREMENTAL, "a", range(10))
    writer.confirm("log", "a")
    put(writer, INCREMENTAL, "a", range(10, 20))
    put(writer, INCREMENTAL, "b", range(5))
    writer.confirm("log", "b")
    assert loaded(store, writer.close(), INCREMENTAL, format_) == {
        "a": [*range(10)],
        "b": [*range(5)],
    }


@pytest.mark.parametrize("table", [PLAIN, INCREMENTAL], ids=["plain", "incremental"])
def test_checkpoints_hold_where_memory_is_short(store, format_, table):
    writer = make(store, format_, budget_bytes=20_000)
    for n in range(20):
        put(writer, table, "a", range(n * 100, n * 100 + 100))
        put(writer, table, "b", range(n * 100, n * 100 + 100))
        if n % 4 == 3:
            writer.confirm(table.name, "a")
    put(writer, table, "a", range(9000, 9900))
    parts = writer.close()
    assert len(parts) > 1
    assert loaded(store, parts, table, format_) == {"a": list(range(2000))}


def test_memory_stays_within_the_budget_however_many_tables(store, format_):
    tables = [with_cq_columns(Table(f"t{n}", PARENT.columns)) for n in range(12)]
    writer = make(store, format_, part_bytes=64 << 20, budget_bytes=120_000)
    highest = 0
    for n in range(10):
        for table in tables:
            put(writer, table, "a", range(n * 50, n * 50 + 50))
            highest = max(highest, writer._used)
            assert writer._used == sum(w.used for w in writer._tables.values())
    for table in tables:
        writer.confirm(table.name, "a")
    parts = writer.close()
    assert highest <= 120_000
    for table in tables:
        mine = [p for p in parts if p.table == table.name]
        assert loaded(store, mine, table, format_) == {"a": list(range(500))}


def test_discarding_leaves_nothing_behind(store, tmp_path, format_):
    writer = make(store, format_, part_bytes=70_000)
    for n in range(40):
        put(writer, PLAIN, "a", range(n * 1000, n * 1000 + 1000), text="a longer text, repeated ")
    assert list(store.list(""))
    writer.discard()
    assert list(store.list("")) == []
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_many_tiny_batches_are_one_part(store, writer, format_):
    for n in range(200):
        put(writer, PLAIN, "a", [n])
    writer.confirm("p", "a")
    (part,) = writer.close()
    assert loaded(store, [part], PLAIN, format_) == {"a": list(range(200))}


def test_values_that_do_not_compress_arrive_too(store, format_):
    writer = make(store, format_, part_bytes=8 << 20)
    random = Random(5)
    put(
        writer,
        PLAIN,
        "a",
        range(4000),
        text="".join(chr(random.randrange(32, 9000)) for _ in range(99)),
    )
    for n in range(4):
        noise = pa.array([random.randbytes(200).hex() for _ in range(2000)])
        raw = pa.record_batch({"k": pa.array(range(n * 2000, n * 2000 + 2000)), "v": noise})
        writer.write(PLAIN, "b", Stamp(PLAIN, "src", SYNC_TIME)("b", raw))
    writer.confirm("p", "a")
    writer.confirm("p", "b")
    (part,) = writer.close()
    assert part.bytes > 1_000_000
    assert part.checksum == f"crc32:{zlib.crc32(store.get(part.key)):08x}"
    assert loaded(store, [part], PLAIN, format_) == {"a": list(range(4000)), "b": list(range(8000))}


def test_a_batch_is_cut_into_pieces_that_are_no_larger_than_asked():
    whole = batch(PLAIN, "a", range(1000))
    cut = list(pieces(PLAIN, whole, 10_000))
    assert sum(p.batch.num_rows for p in cut) == 1000
    assert max(p.batch.nbytes for p in cut) < 12_000


def test_where_clients_are_the_sources_own_each_of_ours_has_its_own_parts(store, writer, format_):
    table = replace(PLAIN, own_client_ids=True)
    for keys in ([1], [2]):
        put(writer, table, "a", keys)
        put(writer, table, "b", keys)
    writer.confirm("p", "b")
    parts = writer.close()
    assert [(p.key, p.cells, p.dropped) for p in parts] == [
        (f"p/0.{format_}", {"a": 2}, ("a",)),
        (f"p/1.{format_}", {"b": 2}, ()),
    ]


def test_many_clients_with_parts_of_their_own_stay_within_the_budget(store, format_):
    writer = make(store, format_, budget_bytes=64 << 10)
    table = replace(PLAIN, own_client_ids=True)
    clients = [f"c{n}" for n in range(40)]
    for client in clients:
        put(writer, table, client, range(100), text="x" * 50)
        assert writer._used <= 64 << 10
        writer.confirm("p", client)
    parts = writer.close()
    assert sorted(p.key for p in parts) == sorted({p.key for p in parts})
    assert [*loaded(store, parts, table, format_)] == clients


def grown(table: Table) -> Table:
    return replace(table, columns=(*table.columns, Column("x", pa.int8())))


def test_a_part_has_one_form_of_its_table(store, format_):
    writer = make(store, format_, planned=[PLAIN])
    put(writer, PLAIN, "a", [1])
    put(writer, grown(PLAIN), "a", [2])
    put(writer, grown(PLAIN), "b", [3])
    writer.confirm("p", "a")
    writer.confirm("p", "b")
    first, second = writer.close()
    assert writer.forms == (grown(PLAIN),)
    assert [(p.form, p.cells) for p in (first, second)] == [(0, {"a": 1}), (1, {"a": 1, "b": 1})]
    assert loaded(store, [first], PLAIN, format_) == {"a": [1]}
    assert loaded(store, [second], grown(PLAIN), format_) == {"a": [2], "b": [3]}


def test_a_table_that_grew_before_its_first_row_is_not_as_planned(store, format_):
    writer = make(store, format_, planned=[PLAIN])
    put(writer, grown(PLAIN), "a", [1])
    (part,) = writer.close()
    assert (part.form, writer.forms) == (1, (grown(PLAIN),))


def test_rows_that_wait_for_a_checkpoint_keep_their_form(store, format_):
    writer = make(store, format_, planned=[INCREMENTAL])
    put(writer, INCREMENTAL, "a", [1])
    put(writer, grown(INCREMENTAL), "a", [2])
    writer.confirm("log", "a")
    put(writer, grown(INCREMENTAL), "a", [3])
    parts = writer.close()
    assert [(p.form, p.rows, p.dropped) for p in parts] == [(0, 1, ()), (1, 1, ())]
