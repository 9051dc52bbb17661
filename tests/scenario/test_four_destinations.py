"""One extraction into DuckDB, PostgreSQL, Parquet files on S3 and CSV files: equal contents, whatever dies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pyarrow as pa
import pytest

from contracts.errors import Exit
from contracts.store import open_store
from tests.fakes import canonical, ledger, specs
from tests.fakes.canonical import Row
from tests.fakes.fleet import Fleet, ended, kill, until
from tests.fakes.servers import S3

pytestmark = [pytest.mark.postgres, pytest.mark.s3, pytest.mark.timeout(300)]

CLIENTS = ("ann", "bob", "cid")
DESTINATIONS = ("lake", "sheets", "duck", "pg")
SHARED = "shared_"  # what the transformer puts before the tables of the lake
DOOMED = "from tests.fakes.doomed import main; main()"

KEYS = {"client": pa.string(), "number": pa.int64()}
ENTRIES = {
    **KEYS,
    "edition": pa.string(),
    "email": pa.string(),
    **{name: type_ for name, (type_, _) in ledger.columns().items()},
}
NOTES = {**KEYS, "note": pa.string()}


def expected(rows: int, edition: str, clients: Sequence[str] = CLIENTS) -> list[Row]:
    """The rows of an untransformed table of entries."""
    cycles = ledger.columns()
    found = []
    for client in clients:
        for n in range(rows):
            row: dict[str, Any] = {
                "client": client,
                "number": n,
                "edition": edition,
                "email": f"{client}.{n}@example.com",
            }
            for name, (_, values) in cycles.items():
                cycle = [*values, None]
                row[name] = cycle[n % len(cycle)]
            found.append(row)
    return canonical.of_rows(ENTRIES, found)


def expected_notes(rows: int, clients: Sequence[str] = CLIENTS) -> list[Row]:
    return [
        {"client": client, "number": n, "note": f"note of {client} {n}"}
        for client in clients
        for n in range(rows)
    ]


def shared(rows: Sequence[Row]) -> list[Row]:
    """What the transformers of the lake make of entries: no addresses, editions in capitals, a new column."""
    return [
        {k: v for k, v in row.items() if k != "email"}
        | {"edition": row["edition"].upper(), "shared_by": "accounting"}
        for row in rows
    ]


class Four:
    """The four places, and what is in them."""

    def __init__(self, fleet: Fleet, s3: S3, bucket: str, dsn: str) -> None:
        self.fleet, self.home, self.dsn = fleet, fleet.home, dsn
        self._s3, self._bucket = s3, bucket
        fleet.environment["LAKE"] = bucket
        self.denied = self.home / "denied"
        self.denied.write_text("")

    def write(self, **options: Any) -> None:
        """The spec, for a run of `rows` rows and an `edition`."""
        source = {
            "kind": "source",
            "spec": {
                "name": "books",
                "path": "test/ledger",
                "version": "v1.0.0",
                "tables": ["*"],
                "skip_dependent_tables": False,
                "destinations": list(DESTINATIONS),
                "spec": {"clients": list(CLIENTS), "denied": str(self.denied), **options},
            },
        }
        entries = [f"ledger{n}" for n in range(options.get("ledgers", 1))]
        transformations = [
            {"kind": "remove_columns", "tables": entries, "columns": ["email"]},
            {"kind": "uppercase", "tables": entries, "columns": ["edition"]},
            {"kind": "add_column", "name": "shared_by", "value": "accounting"},
            {"kind": "change_table_names", "new_table_name_template": f"{SHARED}{{{{.OldName}}}}"},
        ]
        (self.home / "spec.yml").write_text(
            specs.spec(
                source,
                _destination(
                    "lake", "s3", transformers=["sharing"], write_mode="append",
                    spec={
                        "bucket": "${LAKE}", "test_write": False, "region": "us-east-1", "format": "parquet",
                        "path": "lake/{{TABLE}}/{{UUID}}.parquet",
                        "endpoint": self._s3.endpoint, "use_path_style": True,
                    },
                ),
                _destination(
                    "sheets", "file", write_mode="append",
                    spec={"path": "sheets/{{TABLE}}/{{UUID}}.csv", "format": "csv", "batch_size": 5},
                ),
                specs.duckdb(name="duck"),
                specs.postgresql(name="pg"),
                {
                    "kind": "transformer",
                    "spec": {
                        "name": "sharing", "path": "cloudquery/basic", "version": "v2.7.0",
                        "spec": {"transformations": transformations},
                    },
                },
            )
        )  # fmt: skip

    def entries(self, destination: str, table: str = "ledger0") -> list[Row]:
        return self._rows(destination, table, ENTRIES)

    def notes(self, destination: str, table: str = "ledger0_notes") -> list[Row]:
        return self._rows(destination, table, NOTES)

    def _rows(self, destination: str, table: str, types: Mapping[str, pa.DataType]) -> list[Row]:
        match destination:
            case "lake":
                types = {k: v for k, v in types.items() if k != "email"}
                types["shared_by"] = pa.string()
                return canonical.of_parquet(self.objects(table), types)
            case "sheets":
                files = sorted((self.home / "sheets" / table).glob("*.csv"))
                return canonical.of_csv([f.read_bytes().decode() for f in files], types)
            case "duck":
                return canonical.of_duckdb(str(self.home / "w.duckdb"), table, types)
            case _:
                return canonical.of_postgresql(self.dsn, table, types)

    def objects(self, table: str) -> list[bytes]:
        store = open_store(f"s3://{self._bucket}/lake")
        return [store.get(e.key) for e in store.list(f"{SHARED}{table}/")]

    def hold(
        self, rows: int, edition: str, clients: Sequence[str] = CLIENTS, table: str = "ledger0"
    ) -> None:
        """Every place holds exactly these rows, each in its own way."""
        entries, notes = expected(rows, edition, clients), expected_notes(rows, clients)
        for destination in DESTINATIONS:
            want = shared(entries) if destination == "lake" else entries
            equal(self.entries(destination, table), want, destination)
            want = [n | {"shared_by": "accounting"} for n in notes] if destination == "lake" else notes  # fmt: skip
            equal(self.notes(destination, f"{table}_notes"), want, destination)

    def summary(self) -> list[dict[str, Any]]:
        lines = (self.home / "summary.jsonl").read_bytes().splitlines()
        return [orjson.loads(line) for line in lines]


def equal(found: Sequence[Row], want: Sequence[Row], where: str) -> None:
    """Row by row and column by column, so that a failure names the value."""
    assert len(found) == len(want), where
    for one, other in zip(found, want, strict=True):
        for column in other:
            assert one[column] == other[column], f"{where}: {column} of {other['client']}"


def _destination(name: str, plugin: str, **outer: Any) -> specs.Document:
    version = {"s3": "v7.10.13", "file": "v5.5.10"}[plugin]
    body = {"name": name, "path": f"cloudquery/{plugin}", "version": version, **outer}
    return {"kind": "destination", "spec": body}


@pytest.fixture
def four(tmp_path: Path, s3: S3, postgres_dsn: str) -> Iterator[Four]:
    with Fleet(tmp_path, {**s3.environment(), specs.DSN: postgres_dsn}) as fleet:
        yield Four(fleet, s3, s3.create(), postgres_dsn)


def test_every_value_of_every_type_is_the_same_in_all_four(four: Four) -> None:
    four.write(rows=60)
    four.fleet.sharder("submit", "spec.yml", "--summary-location", "summary.jsonl")
    four.hold(60, "first")
    rows = 60 * len(CLIENTS)
    lines = {s["destination_name"]: s for s in four.summary()}
    assert lines.keys() == set(DESTINATIONS)
    assert {s["resources"] for s in lines.values()} == {2 * rows}
    # Batches of five rows: files are cut, and no name is used twice.
    assert len(list((four.home / "sheets" / "ledger0").glob("*.csv"))) == rows / 5


def test_an_account_that_failed_comes_with_a_retry_and_nothing_else_twice(four: Four) -> None:
    four.denied.write_text("bob")
    four.write(rows=7)
    four.fleet.sharder("submit", "spec.yml", "--run-id", "r", expect=Exit.PARTIAL)
    four.hold(7, "first", ("ann", "cid"))
    four.denied.write_text("")
    four.fleet.sharder("retry", "r")
    four.hold(7, "first")


def test_a_second_run_replaces_rows_in_databases_and_adds_files_beside_the_old_ones(
    four: Four,
) -> None:
    four.write(rows=7)
    four.fleet.sharder("submit", "spec.yml", "--run-id", "one")
    files = {f.name for f in (four.home / "sheets" / "ledger0").iterdir()}
    objects = len(four.objects("ledger0"))

    four.write(rows=5, edition="second")
    four.fleet.sharder("submit", "spec.yml", "--run-id", "two")
    second = expected(5, "second")
    for database in ("duck", "pg"):
        equal(four.entries(database), second, database)
        equal(four.notes(database), expected_notes(5), database)
    both = canonical.in_order([*expected(7, "first"), *second])
    equal(four.entries("sheets"), both, "sheets")
    equal(four.entries("lake"), shared(both), "lake")
    assert files < {f.name for f in (four.home / "sheets" / "ledger0").iterdir()}
    assert len(four.objects("ledger0")) > objects

    # Naming a run that is closed shows its summary; it writes nothing.
    four.fleet.sharder("submit", "spec.yml", "--run-id", "two")
    equal(four.entries("sheets"), both, "sheets")


def test_a_place_that_refuses_gets_its_rows_by_a_retry_that_reads_no_source(
    four: Four, s3: S3
) -> None:
    four.write(rows=7)
    refusing = four.fleet.run("submit", "spec.yml", "--run-id", "r", LAKE=s3.create("denied"))
    assert refusing.code == Exit.PARTIAL, refusing.said
    assert "may not" in refusing.said, refusing.said
    for destination in ("sheets", "duck", "pg"):
        equal(four.entries(destination), expected(7, "first"), destination)
    # Were the source asked again, the retry would fail.
    four.denied.write_text(" ".join(CLIENTS))
    four.fleet.sharder("retry", "r")
    four.hold(7, "first")


def test_loaders_killed_after_one_write_after_another_leave_the_same_in_all_four(
    four: Four, tmp_path: Path
) -> None:
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    ledgers = 6
    four.write(rows=7, ledgers=ledgers)
    process = four.fleet.start(
        "sharder", "submit", "spec.yml", code=DOOMED,
        DOOMED_DEATHS=str(deaths), DOOMED_ROLES="loader", DOOMED_STRIDE="4",
    )  # fmt: skip
    done = ended(process)
    assert done.code == Exit.OK, done.said
    for n in range(ledgers):
        four.hold(7, "first", table=f"ledger{n}")
    for destination in DESTINATIONS:
        assert [d for d in deaths.iterdir() if f"-{destination}-" in d.name], destination


@pytest.mark.redis
class TestOnAFleet:
    @pytest.fixture
    def fleet_of_four(
        self, tmp_path: Path, s3: S3, s3_url: str, redis_url: str, postgres_dsn: str
    ) -> Iterator[Four]:
        environment = {
            **s3.environment(),
            specs.DSN: postgres_dsn,
            "SHARDER_BROKER": redis_url,
            "SHARDER_STAGE": s3_url,
        }
        with Fleet(tmp_path, environment) as fleet:
            yield Four(fleet, s3, s3.create(), postgres_dsn)

    def test_a_loader_killed_in_the_middle_and_a_retry_end_in_equal_contents(
        self, fleet_of_four: Four
    ) -> None:
        four, ledgers = fleet_of_four, 4
        four.denied.write_text("cid")
        four.write(rows=40, ledgers=ledgers)
        for _ in range(2):
            four.fleet.start("worker", "run")
        loader = four.fleet.start("loader", "run")
        submit = four.fleet.start("sharder", "submit", "spec.yml", "--run-id", "r")
        until(lambda: loaded_somewhere(four))
        kill(loader)
        four.fleet.start("loader", "run")
        done = ended(submit)
        assert done.code == Exit.PARTIAL, done.said + four.fleet.logs()
        for n in range(ledgers):
            four.hold(40, "first", ("ann", "bob"), table=f"ledger{n}")

        four.denied.write_text("")
        four.fleet.sharder("retry", "r")
        for n in range(ledgers):
            four.hold(40, "first", table=f"ledger{n}")


def loaded_somewhere(four: Four) -> bool:
    with psycopg.connect(four.dsn) as warehouse:
        found = warehouse.execute("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'ledger%'")
        row = found.fetchone()
    return bool(row and row[0]) or (four.home / "sheets").exists()
