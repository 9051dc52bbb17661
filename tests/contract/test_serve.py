"""`worker serve`: the same rows over CloudQuery's protocol as from the source itself, and how a sync ends."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cloudquery.plugin_v3 import plugin_pb2 as pb
from cloudquery.plugin_v3 import plugin_pb2_grpc

from contracts import table as cq
from contracts import types
from contracts.errors import InputError, Permanent, SharderError, Transient
from contracts.plugin.client import Client
from contracts.plugin.messages import (
    Backend,
    Inserted,
    Message,
    Migrate,
    Saved,
    SyncRequest,
    TableFailed,
)
from contracts.plugin.state import StateServer
from contracts.table import Table
from tests.fakes.arrays import same
from tests.fakes.hackernews import FakeHackerNews, Forum
from tests.fakes.plugins import programs
from tests.fakes.plugins.served import Served, served
from tests.suites.source import NOW, context, frozen, read
from worker.serve import server
from worker.serve.address import parse
from worker.serve.state import State
from worker.sources import registry

SHOP = "tests.fakes.shop:Shop"
ALL = SyncRequest(("*",))


@contextmanager
def serving(name: str, directory: Path, **spec: Any) -> Iterator[Client]:
    """A server of this process, initialised."""
    address = parse("unix", str(directory / "x.sock"))
    register = server.served(name, log_level="info", log_format="json")
    running = server.listening(register, address)
    try:
        with Client(address.target) as client:
            client.connect(30)
            client.init(spec)
            yield client
            client.finish()
    finally:
        running.stop(None).wait()


def rows_of(messages: list[Message], table: str) -> pa.Table:
    return pa.Table.from_batches(
        [m.batch for m in messages if isinstance(m, Inserted) and m.table == table]
    )


def failures(messages: list[Message]) -> list[tuple[str, str]]:
    return [(m.table, m.error) for m in messages if isinstance(m, TableFailed)]


def native(name: str, spec: dict[str, Any], top: str) -> tuple[tuple[Table, ...], Any]:
    with closing(registry.open_source(name, spec, context())) as source:
        tree = frozen(source)[top]
        return tree, read(source, tree, list(source.clients(tree[0]).ids))


def assert_same_rows(name: str, spec: dict[str, Any], top: str, messages: list[Message]) -> None:
    """Rows by `_cq_id`, in every column but the two that the CLI adds, and random ids."""
    tree, reading = native(name, spec, top)
    for table in tree:
        wanted = reading.table(table).drop_columns([cq.SYNC_TIME, cq.SOURCE_NAME])
        found = rows_of(messages, table.name)
        if table.primary_key == (cq.ID,):
            wanted, found = (t.drop_columns([cq.ID]) for t in (wanted, found))
        assert found.num_rows == wanted.num_rows > 0
        assert found.schema.names == wanted.schema.names
        for column in wanted.schema.names:
            one, other = (t.column(column).combine_chunks() for t in (wanted, found))
            assert same(one, other), column


class TestRows:
    def test_hackernews(self, tmp_path: Path):
        with FakeHackerNews(Forum(count=1500, newest=int(NOW.timestamp()))) as site:
            spec = {"base_url": site.url, "start_time": "2026-01-01T00:00:00Z"}
            with serving("hackernews", tmp_path, **spec) as client:
                messages = list(client.sync(ALL))
            assert_same_rows("hackernews", spec, "hackernews_items", messages)

    def test_every_type(self, tmp_path: Path):
        pq.write_table(EVERYTHING, tmp_path / "all.parquet")
        spec = {"tables": [{"name": "all", "path": str(tmp_path / "all.parquet"), "primary_key": ["id"]}]}  # fmt: skip
        with serving("file", tmp_path, **spec) as client:
            (table,) = client.tables()
            assert [c.name for c in table.columns[:3]] == [cq.ID, cq.PARENT_ID, cq.CLIENT_ID]
            assert table.primary_key == ("id",)
            messages = list(client.sync(ALL))
        assert_same_rows("file", spec, "all", messages)

    def test_children_and_extension_types_of_a_source_in_python(self, tmp_path: Path):
        with serving(SHOP, tmp_path) as client:
            messages = list(client.sync(ALL))
        migrated = [m.table for m in messages if isinstance(m, Migrate)]
        assert [t.name for t in migrated] == [
            "shop_orders", "shop_lines", "shop_taxes", "shop_events", "shop_notes",
        ]  # fmt: skip
        assert [t.parent for t in migrated[:3]] == [None, "shop_orders", "shop_lines"]
        assert [t.incremental for t in migrated] == [False, False, False, True, False]
        assert all(isinstance(m, Migrate) for m in messages[:5])
        assert rows_of(messages, "shop_orders").num_rows == 20
        parents = set(rows_of(messages, "shop_lines")[cq.PARENT_ID].to_pylist())
        assert parents == set(rows_of(messages, "shop_orders")[cq.ID].to_pylist())

    def test_with_deterministic_ids_they_are_the_only_key(self, tmp_path: Path):
        with serving(SHOP, tmp_path) as client:
            one = list(client.sync(SyncRequest(("shop_orders",), deterministic_cq_id=True)))
        (table,) = [m.table for m in one if isinstance(m, Migrate) and m.table.parent is None]
        assert table.primary_key == (cq.ID,)
        ids = rows_of(one, "shop_orders")[cq.ID].to_pylist()
        _, reading = native(SHOP, {}, "shop_orders")
        assert ids == reading.table(frozen_orders())[cq.ID].to_pylist()

    def test_many_small_batches_are_put_together_and_large_ones_are_cut(self, tmp_path: Path):
        large = pa.table({"id": range(300_000), "text": ["x" * 20] * 300_000})
        pq.write_table(large, tmp_path / "l.parquet", row_group_size=300_000)
        spec = {"path": str(tmp_path / "l.parquet")}
        sizes = [len(data) for data in records("file", tmp_path, spec)]
        assert sum(sizes) > 12_000_000
        assert max(sizes) < 2_100_000
        small = [len(data) for data in records(SHOP, tmp_path, {"orders": 3000, "shops": ["a"]}, "shop_orders")]  # fmt: skip
        assert len(small) < 10  # of 1,000 chunks


def frozen_orders() -> Table:
    return frozen(registry.open_source(SHOP, {}, context()))["shop_orders"][0]


def records(name: str, directory: Path, spec: dict[str, Any], *tables: str) -> list[bytes]:
    """The records of a sync as they come, by CloudQuery's own stubs."""
    with raw(name, directory, spec) as stub:
        answers = stub.Sync(pb.Sync.Request(tables=tables or ["*"], withErrorMessages=True))
        return [a.insert.record for a in answers if a.HasField("insert")]


@contextmanager
def raw(name: str, directory: Path, spec: dict[str, Any]) -> Iterator[Any]:
    address = parse("unix", str(directory / "raw.sock"))
    running = server.listening(server.served(name, log_level="info", log_format="json"), address)
    with grpc.insecure_channel(address.target) as channel:
        stub = plugin_pb2_grpc.PluginStub(channel)
        stub.Init(pb.Init.Request(spec=json.dumps(spec).encode()), wait_for_ready=True)
        yield stub
        stub.Close(pb.Close.Request())
    running.stop(None).wait()


class TestSelection:
    def test_patterns_children_and_what_is_skipped(self, tmp_path: Path):
        with serving(SHOP, tmp_path) as client:
            names = lambda *a, **k: [t.name for t in client.tables(*a, **k)]  # noqa: E731
            assert len(names()) == 5
            assert names(()) == []
            assert names(("shop_o*",)) == ["shop_orders", "shop_lines", "shop_taxes"]
            assert names(("shop_o*",), skip_dependent_tables=True) == ["shop_orders"]
            assert names(("shop_lines",), skip_dependent_tables=True) == ["shop_orders", "shop_lines"]  # fmt: skip
            assert names(("*",), ("shop_orders",)) == ["shop_events", "shop_notes"]
            with pytest.raises(Permanent, match="no table that matches 'shop_x'"):
                client.tables(("shop_x",))
            with pytest.raises(SharderError, match="no table that matches 'shop_x'"):
                list(client.sync(SyncRequest(("shop_x",))))

    def test_shards_by_cells_are_together_everything_once(self, tmp_path: Path):
        shops = [f"s{n}" for n in range(12)]
        with serving(SHOP, tmp_path, shops=shops) as client:
            whole = sorted(rows_of(list(client.sync(ALL)), "shop_events")[cq.ID].to_pylist())
            pieces = [list(client.sync(SyncRequest(("*",), shard=(n, 3)))) for n in (1, 2, 3)]
        found = [rows_of(p, "shop_events")[cq.ID].to_pylist() for p in pieces]
        assert all(found)
        assert sorted(chain.from_iterable(found)) == whole
        assert all(len([m for m in p if isinstance(m, Migrate)]) == 5 for p in pieces)


class TestEndings:
    def test_a_failed_cell_is_an_error_and_the_others_go_on(self, tmp_path: Path):
        trouble = {"north": "denied", "south/shop_lines": "bug"}
        with serving(SHOP, tmp_path, trouble=trouble) as client:
            messages = list(client.sync(SyncRequest(("shop_orders",))))
        found = failures(messages)
        assert found[0][0] == "shop_orders"
        assert found[0][1].startswith("client north: denied: HTTPError")
        assert ("shop_lines", "client south: failed: KeyError: 'total'") in [
            (t, e.partition(" (")[0]) for t, e in found
        ]
        assert rows_of(messages, "shop_orders").num_rows == 3 + 10

    def test_a_skipped_cell_is_no_error(self, tmp_path: Path):
        with serving(SHOP, tmp_path, trouble={"north": "off"}) as client:
            assert failures(list(client.sync(ALL))) == []

    def test_errors_are_kept_from_who_did_not_ask_for_them(self, tmp_path: Path):
        with raw(SHOP, tmp_path, {"trouble": {"north": "denied"}}) as stub:
            kinds = [a.WhichOneof("message") for a in stub.Sync(pb.Sync.Request(tables=["*"]))]
        assert set(kinds) == {"migrate_table", "insert"}

    def test_a_client_that_leaves_ends_the_sync_and_another_may_begin(self, tmp_path: Path):
        with serving(SHOP, tmp_path, orders=100_000) as client:
            stream = client.sync(SyncRequest(("shop_events",)))
            next(m for m in stream if isinstance(m, Inserted))
            stream.close()
            for _ in range(100):  # until the server has seen that its client is gone
                with suppress(Permanent):
                    client.tables()
                    break
            assert isinstance(next(iter(client.sync(ALL))), Migrate)

    def test_a_second_sync_at_the_same_time_is_refused(self, tmp_path: Path):
        with serving(SHOP, tmp_path, orders=100_000) as client:
            stream = client.sync(ALL)
            next(stream)
            with pytest.raises(SharderError, match="already in use"):
                client.tables()
            stream.close()


class TestSpec:
    def test_its_schema_is_that_of_the_options(self, tmp_path: Path):
        with serving(SHOP, tmp_path) as client:
            schema = json.loads(client.spec_schema())
        assert schema["properties"].keys() >= {"shops", "token"}
        assert schema["$schema"].startswith("https://json-schema.org/")

    @pytest.mark.parametrize(
        ("spec", "says"),
        [({"shopps": []}, "did you mean 'shops'"), ({"shops": 5}, "'shops' of source 'shop' must be a list")],
    )  # fmt: skip
    def test_wrong_options_fail_init_with_what_to_write(self, tmp_path: Path, spec: Any, says: str):
        with serving(SHOP, tmp_path) as client, pytest.raises(Permanent, match=says):
            client.init(spec)

    def test_nothing_can_be_asked_before_there_is_a_spec(self, tmp_path: Path):
        with serving(SHOP, tmp_path) as client:
            client.finish()
            with pytest.raises(Permanent, match="call Init first"):
                client.tables()

    def test_a_connection_is_tested_without_a_sync(self, tmp_path: Path):
        with (
            FakeHackerNews(Forum(count=5, newest=int(NOW.timestamp()))) as site,
            serving("hackernews", tmp_path) as client,
        ):
            client.test({"base_url": site.url})
            client.init({"base_url": site.url})
            assert failures(list(client.sync(ALL))) == []
            client.test({"base_url": site.url})  # a sync that has ended stops nothing
            with pytest.raises(Permanent, match="unknown key 'base_urls'"):
                client.test({"base_urls": site.url})
        spec = {"path": str(tmp_path / "no" / "*.csv"), "columns": {"id": "int64"}}
        with serving("file", tmp_path, **spec) as client, pytest.raises(Permanent) as caught:
            client.test(spec)
        assert "cannot connect" in str(caught.value)

    def test_secrets_of_the_spec_are_in_no_error(self, tmp_path: Path):
        with serving(SHOP, tmp_path, token="hunter2-token") as client:
            client.init({"token": "hunter2-token", "trouble": {"north": "bug"}, "shops": ["north"]})
            with pytest.raises(SharderError) as caught:
                client.tables(("hunter2-token",))
        assert "hunter2" not in str(caught.value)

    def test_an_unknown_source_is_refused_before_anything_listens(self):
        with pytest.raises(InputError, match="did you mean 'hackernews'"):
            server.served("hackernew", log_level="info", log_format="json")


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """CloudQuery's own plugin in memory, as a state backend; its class is served by us."""
    name = "cloudquery.sdk.internal.memdb:MemDB"
    with served(name, tmp_path_factory.mktemp("memory")) as found:
        with Client(found.target, death=found.death) as client:
            client.connect(60)
            client.init({})
        yield found


def test_without_checkpoints_the_state_is_written_at_the_end_of_each_cell(tmp_path: Path):
    with StateServer({"shop_events:north": "4"}, directory=tmp_path) as known:
        backend = Backend("state", known.connection)
        request = SyncRequest(("shop_events",), backend=backend, checkpoints=False)
        with serving(SHOP, tmp_path, trouble={"south": "bug"}) as client:
            messages = list(client.sync(request))
        ids = rows_of(messages, "shop_events").to_pylist()
        assert [r["id"] for r in ids if r[cq.CLIENT_ID] == "north"] == list(range(5, 11))
        # The south failed before its first cursor.
        assert known.written() == {"shop_events:north": "10"}


@pytest.mark.slow
class TestState:
    @pytest.mark.parametrize("checkpoints", [True, False])
    def test_a_second_sync_goes_on_where_the_first_ended(
        self, tmp_path: Path, memory: Served, checkpoints: bool
    ):
        backend = Backend(f"state_{checkpoints}", memory.target)
        request = SyncRequest(("shop_events",), backend=backend, checkpoints=checkpoints)
        with serving(SHOP, tmp_path, shops=["north"]) as client:
            first = list(client.sync(request))
            kept = {k: v for m in first if isinstance(m, Saved) for k, v in m.cursor.items()}
            if checkpoints:
                # The CLI writes what the rows before it are committed with; here that is us.
                assert kept == {"shop_events:north": "10"}
                assert [type(m) for m in first].count(Saved) == 4
                assert isinstance(first[first.index(next(m for m in first if isinstance(m, Saved))) - 1], Inserted)  # fmt: skip
                State(backend).write(kept)
            else:
                assert kept == {}
            client.init({"shops": ["north"], "orders": 12})
            second = list(client.sync(request))
        assert rows_of(second, "shop_events")["id"].to_pylist() == [11, 12]

    def test_a_backend_that_does_not_answer_fails_the_sync(self, tmp_path: Path, monkeypatch: Any):
        monkeypatch.setattr("worker.serve.state.PATIENCE_S", 0.2)
        backend = Backend("state", f"unix:{tmp_path}/nobody.sock")
        with serving(SHOP, tmp_path) as client, pytest.raises(Transient, match="the state backend does not answer"):  # fmt: skip
            list(client.sync(SyncRequest(("*",), backend=backend)))


@pytest.mark.slow
class TestProgram:
    def test_it_starts_with_the_arguments_of_the_cli_and_ends_at_once(self, tmp_path: Path):
        with served(SHOP, tmp_path, environment={"PYTHONPATH": "."}) as found:
            line = found.line("plugin_server_listening")
            assert line["level"] == "info"
            with Client(found.target, death=found.death) as client:
                client.connect(60)
                client.init({"trouble": {"north": "denied"}})
                assert (client.name(), client.version()) == ("shop", "v0.1.0")
                assert len(failures(list(client.sync(ALL)))) == 5
            failed = found.line("table_failed")
            assert (failed["level"], failed["table"], failed["client"]) == ("error", "shop_orders", "north")  # fmt: skip
            found.line("sync_done")
            found.process.send_signal(signal.SIGINT)
            assert found.process.wait(30) == 0
        assert not (tmp_path / "x.sock").exists()

    def test_a_class_of_the_python_sdk_is_served(self, memory: Served):
        with Client(memory.target, death=memory.death) as client:
            assert client.name() == "memdb"
            names = [t.name for t in client.tables()]
            assert names == ["table_1", "table_1_relation_1", "table_2"]
            assert rows_of(list(client.sync(ALL)), "table_2")["id"].to_pylist() == [1, 2, 3]
            with pytest.raises(Permanent, match="unexpected keyword argument 'speed'"):
                client.init({"speed": 1})

    def test_cloudquerys_own_code_understands_what_is_served(self, tmp_path: Path):
        with served(SHOP, tmp_path, environment={"PYTHONPATH": "."}) as found:
            found.line("plugin_server_listening")
            said = subprocess.run(
                [programs.KITS, "-m", "tests.fakes.plugins.as_sdk", found.target, '{"shops": ["north"]}'],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
        lines = [json.loads(line) for line in said.stdout.splitlines()]
        tables = {line["table"]: line for line in lines if "table" in line}
        assert tables["shop_events"]["incremental"]
        columns = {name: rest for name, *rest in tables["shop_orders"]["columns"]}
        assert columns["_cq_id"] == ["uuid", False, True, True, False]
        assert columns["id"] == ["int64", True, True, False, False]
        assert columns["buyer"][0] == "json"
        rows = [row for line in lines for row in line.get("rows", ()) if "buyer" in row]
        assert len(rows) == 10
        assert rows[0]["total"] == "12.50"


def test_a_socket_that_is_too_far_away_and_an_address_that_is_none():
    with pytest.raises(InputError, match="bytes, more than the system's 107"):
        parse("unix", "/" + "x" * 120)
    with pytest.raises(InputError, match="HOST:PORT"):
        parse("tcp", "nowhere")
    with pytest.raises(InputError, match="path of a socket"):
        parse("unix", "localhost:7777")


@pytest.mark.parametrize(
    ("network", "address", "target"),
    [
        ("unix", "/a/x.sock", "unix:/a/x.sock"),
        ("unix", "unix:///a/x.sock", "unix:/a/x.sock"),
        ("tcp", "unix:///a/x.sock", "unix:/a/x.sock"),
        ("tcp", "localhost:7777", "localhost:7777"),
        ("tcp", "0.0.0.0:7777", "0.0.0.0:7777"),
        ("tcp", ":7777", "[::]:7777"),
        ("tcp", "[::1]:7777", "[::1]:7777"),
    ],
)
def test_addresses(network: str, address: str, target: str):
    assert parse(network, address).target == target


_N = 3
EVERYTHING = pa.table(
    {
        "id": pa.array(range(_N), pa.int64()),
        "bool": [True, None, False],
        **{f"i{w}": pa.array([-1, None, 7], getattr(pa, f"int{w}")()) for w in (8, 16, 32)},
        **{f"u{w}": pa.array([1, None, 7], getattr(pa, f"uint{w}")()) for w in (8, 16, 32, 64)},
        "f4": pa.array([1.5, None, float("nan")], pa.float32()),
        "f8": pa.array([1.5, None, float("-inf")], pa.float64()),
        "text": ["ü", None, ""],
        "large": pa.array(["ü", None, ""], pa.large_string()),
        "bytes": [b"\0\xff", None, b""],
        "fixed": pa.array([b"abc", None, b"def"], pa.binary(3)),
        "decimal": pa.array([Decimal("1.50"), None, Decimal("-2.25")], pa.decimal128(10, 2)),
        "wide": pa.array([Decimal(10) ** 50, None, Decimal(0)], pa.decimal256(60, 0)),
        "date": [date(2024, 2, 29), None, date(1, 1, 1)],
        "time": pa.array([time(1, 2, 3, 4), None, time(0)], pa.time64("us")),
        "at": pa.array([datetime(2024, 1, 1, 1, tzinfo=UTC), None, datetime(1970, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC")),
        "naive": pa.array([1, None, 0], pa.int64()).view(pa.timestamp("ns")),
        "span": pa.array([timedelta(1), None, timedelta(0)], pa.duration("us")),
        "uuid": pa.ExtensionArray.from_storage(types.UUID, pa.array([b"0123456789abcdef", None, bytes(16)], pa.binary(16))),
        "json": pa.ExtensionArray.from_storage(types.JSON, pa.array(['{"a": 1}', None, '"x"'])),
        "inet": pa.ExtensionArray.from_storage(types.INET, pa.array(["10.0.0.0/8", None, "::1/128"])),
        "mac": pa.ExtensionArray.from_storage(types.MAC, pa.array([b"abcdef", None, b"123456"], pa.binary(6))),
        "list": pa.array([[1, None], None, []], pa.list_(pa.int32())),
        "struct": pa.array([{"a": 1, "b": ["x"]}, None, {"a": None, "b": None}], pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))])),
        "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    }
)  # fmt: skip
