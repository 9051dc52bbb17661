"""Whole runs of a foreign plugin, on CloudQuery's Python SDK: embedded and on a fleet, and when it misbehaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import Exit
from contracts.store import open_store
from tests.fakes import estates, specs
from tests.fakes.contents import Contents, differences, of_duckdb, of_postgresql
from tests.fakes.estates import CQ
from tests.fakes.fleet import Fleet, ended
from tests.fakes.plugins.programs import javascript_memory_or_skip
from tests.fakes.servers import S3

pytestmark = pytest.mark.timeout(300)

DOOMED = "from tests.fakes.doomed import main; main()"
SIZES = {"acme": 5, "beta": 2, "corp": 3}


LAKE = {
    "kind": "destination",
    "spec": {
        "name": "lake", "path": "cloudquery/s3", "write_mode": "append",
        "spec": {
            "bucket": "${LAKE}", "path": "lake/{{TABLE}}/{{UUID}}.parquet", "region": "us-east-1",
            "format": "parquet", "no_rotate": False,
        },
    },
}  # fmt: skip


def write(fleet: Fleet, *documents: specs.Document) -> None:
    (fleet.home / "spec.yml").write_text(specs.spec(*documents))


def held(fleet: Fleet, file: str = "w.duckdb") -> Contents:
    return of_duckdb(fleet.home / file, *CQ)


def rows(fleet: Fleet, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(fleet.home / "w.duckdb"), read_only=True) as warehouse:
        return warehouse.execute(query).fetchall()


def no_plugin_is_left(fleet: Fleet) -> bool:
    """Programs of plugins run in the directory of whoever starts them."""
    return not [p for p in Path("/proc").glob("[0-9]*") if _is_plugin(p, fleet.home)]


def _is_plugin(process: Path, home: Path) -> bool:
    try:
        line = (process / "cmdline").read_bytes()
        return b"plugins/estate.py" in line and (process / "cwd").readlink() == home
    except OSError:
        return False


def test_what_the_plugin_produced_is_in_the_warehouse_with_its_accounts_as_clients(embedded):
    write(embedded, estates.source(SIZES, sizes=SIZES), estates.fleet(), specs.duckdb())
    embedded.sharder("submit", "spec.yml")
    assert not differences(held(embedded), estates.contents(SIZES))
    clients = rows(embedded, "SELECT DISTINCT _cq_client_id FROM estate_disks ORDER BY 1")
    assert clients == [("acme",), ("beta",), ("corp",)]
    assert no_plugin_is_left(embedded)


def test_a_plugin_whose_accounts_nobody_knows_is_one_client(embedded):
    write(embedded, estates.source(None), specs.duckdb())
    embedded.sharder("submit", "spec.yml")
    found = dict.fromkeys(("one", "two", "three"), 3)
    assert not differences(held(embedded), estates.contents(found))
    assert rows(embedded, "SELECT DISTINCT _cq_client_id FROM estate_machines") == [("estate",)]


def test_the_plan_tells_cells_and_shards_and_starts_nothing_that_stays(embedded):
    write(embedded, estates.source(SIZES), estates.fleet(), specs.duckdb())
    said = embedded.sharder("plan", "spec.yml").out
    assert "9 cells" in said
    assert no_plugin_is_left(embedded)


def test_an_account_for_which_the_plugin_dies_keeps_its_rows_and_the_others_are_loaded(embedded):
    destination = specs.duckdb(write_mode="overwrite-delete-stale")
    write(embedded, estates.source(SIZES, sizes=SIZES), estates.fleet(), destination)
    embedded.sharder("submit", "spec.yml")
    later = {"acme": 4, "beta": 1, "corp": 3}
    faults = {"beta": {"exit": 3, "stderr": 20}}
    source = estates.source(SIZES, sizes=later, faults=faults)
    write(embedded, source, estates.fleet(), destination)
    said = embedded.sharder("submit", "spec.yml", expect=Exit.PARTIAL).said
    assert "beta" in said
    assert "exit code 3" in said
    # Stale rows of the others went; those of beta stay, all of them, as do all of an incremental table.
    events = {account: range(1, size + 1) for account, size in SIZES.items()}
    expected = estates.contents({**later, "beta": SIZES["beta"]}, events)
    assert not differences(held(embedded), expected)
    reasons = rows(embedded, "SELECT DISTINCT client, outcome FROM sharder_cells")
    assert reasons == [("beta", "failed")]
    write(embedded, estates.source(SIZES, sizes=later), estates.fleet(), destination)
    run = embedded.sharder("runs", "--json").out.splitlines()[0]
    assert run
    assert no_plugin_is_left(embedded)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"signal": 9}, "killed"),
        ({"raise": "estate_disks"}, "estate_disks"),
        ({"bad_value": "estate_machines"}, "logged an error"),
    ],
    ids=["killed", "a resolver fails", "a row is dropped with a line of the log"],
)
def test_a_fault_of_one_account_is_told_and_its_rows_are_not_loaded(embedded, fault, words):
    source = estates.source(SIZES, tables=["estate_machines", "estate_disks"], sizes=SIZES, faults={"beta": fault})  # fmt: skip
    write(embedded, source, estates.fleet(), specs.duckdb())
    said = embedded.sharder("submit", "spec.yml", expect=Exit.PARTIAL).said
    assert words in said
    others = estates.contents({k: v for k, v in SIZES.items() if k != "beta"})
    found = held(embedded)
    assert found["estate_disks"] == others["estate_disks"]
    assert not [r for r in found["estate_machines"] if r["account"] == "beta"] or "raise" in fault
    assert no_plugin_is_left(embedded)


def test_a_plugin_that_hangs_is_ended_after_its_idle_time(embedded):
    source = estates.source(["acme", "beta"], faults={"acme": {"hang": True}})
    write(embedded, source, estates.fleet(idle_timeout="10s"), specs.duckdb())
    said = embedded.sharder("submit", "spec.yml", expect=Exit.PARTIAL).said
    assert "has sent nothing and logged nothing" in said
    assert {r["account"] for r in held(embedded)["estate_machines"]} == {"beta"}
    assert no_plugin_is_left(embedded)


def test_a_state_goes_on_where_the_last_run_ended(embedded):
    def submit(size: int) -> None:
        sizes = dict.fromkeys(("acme", "beta"), size)
        source = estates.source(sizes, tables=["estate_events"], sizes=sizes, state_in="w")
        write(embedded, source, estates.fleet(), specs.duckdb(write_mode="append"))
        embedded.sharder("submit", "spec.yml")

    submit(3)
    submit(5)
    # Appended, so that a row that was read twice would be there twice.
    expected = estates.contents({}, {a: range(1, 6) for a in ("acme", "beta")})
    assert held(embedded)["estate_events"] == expected["estate_events"]
    state = rows(embedded, "SELECT key, value FROM cq_state ORDER BY 1")
    assert state == [("events/acme", "5"), ("events/beta", "5")]


def test_a_state_is_kept_with_its_rows_whatever_dies(embedded):
    """Worker and loader die once in every job, after one write more each time; then the source is read again."""
    deaths = embedded.home / "deaths"

    def submit(size: int, *, doomed: bool) -> None:
        sizes = dict.fromkeys(("acme", "beta"), size)
        source = estates.source(sizes, tables=["estate_events"], sizes=sizes, state_in="w")
        write(embedded, source, estates.fleet(), specs.duckdb(write_mode="append"))
        if not doomed:
            embedded.sharder("submit", "spec.yml")
            return
        deaths.mkdir()
        words = ("submit", "spec.yml", "--run-id", "r")
        done = ended(embedded.start("sharder", *words, code=DOOMED, DOOMED_DEATHS=str(deaths), DOOMED_STRIDE="1", DOOMED_OFFSET="3"))  # fmt: skip
        assert done.code == Exit.OK, done.said

    submit(3, doomed=True)
    assert len([*deaths.iterdir()]) > 1
    submit(5, doomed=False)
    expected = estates.contents({}, {a: range(1, 6) for a in ("acme", "beta")})
    assert held(embedded)["estate_events"] == expected["estate_events"]


def test_a_state_that_cloudquery_wrote_is_continued(embedded):
    with duckdb.connect(str(embedded.home / "w.duckdb")) as warehouse:
        warehouse.execute(
            "CREATE TABLE cq_state (key VARCHAR NOT NULL, value VARCHAR, version UBIGINT NOT NULL)"
        )
        warehouse.execute(
            "INSERT INTO cq_state VALUES ('events/acme', '1', 1), ('events/acme', '2', 2)"
        )
    sizes = {"acme": 4}
    source = estates.source(sizes, tables=["estate_events"], sizes=sizes, state_in="w")
    write(embedded, source, estates.fleet(), specs.duckdb())
    embedded.sharder("submit", "spec.yml")
    assert [r["seq"] for r in held(embedded)["estate_events"]] == [3, 4]


def test_a_plugin_of_the_javascript_sdk_is_loaded(embedded):
    body = {
        "name": "memdb", "registry": "local", "path": javascript_memory_or_skip(), "tables": ["*"],
        "destinations": ["w"],
    }  # fmt: skip
    write(embedded, {"kind": "source", "spec": body}, specs.duckdb())
    done = embedded.sharder("submit", "spec.yml")
    found = held(embedded)
    assert len(found) == 4, done.said
    assert sum(map(len, found.values())) == 11


@pytest.fixture
def stand(
    tmp_path: Path, redis_url: str, s3: S3, s3_url: str, postgres_dsn: str
) -> Iterator[Fleet]:
    environment = {
        **s3.environment(),
        "SHARDER_BROKER": redis_url,
        "SHARDER_STAGE": s3_url,
        specs.DSN: postgres_dsn,
    }
    with Fleet(tmp_path, environment) as fleet:
        yield fleet


@pytest.mark.redis
@pytest.mark.postgres
@pytest.mark.s3
def test_a_fleet_reads_a_plugin_into_postgresql_and_s3_as_the_laptop_does(stand, s3, postgres_dsn):
    bucket = stand.environment["LAKE"] = s3.create()
    stand.environment["ESTATE_SECRET"] = "pl4nted-secret"
    for _ in range(2):
        stand.start("worker", "run")
    stand.start("loader", "run")
    source = estates.source(
        SIZES, sizes=SIZES, secret="${ESTATE_SECRET}", destinations=["w", "lake"]
    )
    write(stand, source, estates.fleet(), specs.postgresql(), LAKE)
    done = stand.sharder("submit", "spec.yml")
    assert not differences(of_postgresql(postgres_dsn, *CQ), estates.contents(SIZES))
    assert "pl4nted-secret" not in done.said + stand.logs()
    lake = open_store(f"s3://{bucket}/lake")
    disks = [pq.read_table(pa.BufferReader(lake.get(e.key))) for e in lake.list("estate_disks/")]
    wanted = estates.contents(SIZES)["estate_disks"]
    found = pa.concat_tables(disks).select(list(wanted[0])).to_pylist()
    assert sorted(found, key=lambda row: repr(sorted(row.items()))) == wanted
