"""`sharder migrate` from the command line: a line per table, exit codes, and nothing left on the stage."""

from __future__ import annotations

from pathlib import Path

import duckdb as engine
import orjson
import pytest

from contracts.cursors import Failure
from contracts.errors import Exit
from contracts.migration import Migrated, MigratedTable
from contracts.store.local import LocalStore
from sharder import migrate
from sharder.holding import Leases
from tests.fakes.command import Run, running
from tests.fakes.fleet import Fleet
from tests.fakes.specs import duckdb, postgresql, source, spec

AWS = source("cloud", {}, plugin="aws", tables=("aws_s3_buckets", "aws_iam_users"))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    return running(tmp_path, monkeypatch, capfd)


def tables(path: str = "w.duckdb") -> set[str]:
    with engine.connect(path) as connection:
        rows = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    return {name for (name,) in rows}


def left(folder: Path) -> list[Path]:
    return [p for place in ("runs", "leases") for p in folder.rglob(f"{place}/**/*") if p.is_file()]


def test_tables_are_made_without_credentials_and_the_second_time_they_are_as_they_should_be(
    run: Run, tmp_path: Path
) -> None:
    Path("spec.yml").write_text(spec(AWS, duckdb()))
    code, out, err = run("migrate", "spec.yml")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "2 tables: 2 created"
    assert {"aws_s3_buckets", "aws_iam_users"} <= tables()
    assert not left(tmp_path)
    assert run("migrate", "spec.yml")[1].splitlines()[-1] == "2 tables: 2 unchanged"


def test_a_refused_table_is_exit_code_3_and_the_others_are_made(run: Run, tmp_path: Path) -> None:
    with engine.connect("w.duckdb") as connection:
        connection.execute("CREATE TABLE aws_s3_buckets (_cq_id INTEGER, kept VARCHAR)")
    Path("spec.yml").write_text(spec(AWS, duckdb()))
    code, out, _ = run("migrate", "spec.yml", "--json")
    found = {row["table"]: row for row in map(orjson.loads, out.splitlines())}
    assert code == Exit.PARTIAL
    assert found["aws_s3_buckets"]["action"] == "refused"
    assert "migrate_mode: forced" in found["aws_s3_buckets"]["error"]
    assert found["aws_iam_users"]["action"] == "created"
    assert not left(tmp_path)


def test_a_destination_that_cannot_be_reached_is_exit_code_4(run: Run, tmp_path: Path) -> None:
    Path("spec.yml").write_text(spec(AWS, duckdb("/proc/nope/w.duckdb")))
    code, out, _ = run("migrate", "spec.yml")
    assert code == Exit.OUTSIDE
    assert "error: " in out
    assert "/proc/nope" in out
    assert not left(tmp_path)


def test_a_wrong_table_pattern_is_exit_code_2_before_anything_is_made(
    run: Run, tmp_path: Path
) -> None:
    Path("spec.yml").write_text(
        spec(source("cloud", {}, plugin="aws", tables=("aws_x",)), duckdb())
    )
    code, out, err = run("migrate", "spec.yml")
    assert (code, out) == (Exit.INPUT, "")
    assert "no table 'aws_x'" in err
    assert not Path("w.duckdb").exists()


def test_a_run_of_the_same_source_and_destination_goes_first(run: Run, tmp_path: Path) -> None:
    Path("spec.yml").write_text(spec(AWS, duckdb()))
    leases = Leases(LocalStore(tmp_path / ".sharder/stage"), "r1", [("cloud", "w")])
    leases.take()
    try:
        code, _, err = run("migrate", "spec.yml")
    finally:
        leases.release()
    assert code == Exit.LEASE
    assert "run r1 is syncing source 'cloud' into 'w'" in err


@pytest.mark.redis
@pytest.mark.postgres
def test_on_a_fleet_the_loader_makes_the_tables(
    tmp_path: Path, redis_url: str, postgres_dsn: str
) -> None:
    variables = {"SHARDER_BROKER": redis_url, "SHARDER_STAGE": str(tmp_path / "stage")}
    (tmp_path / "spec.yml").write_text(spec(AWS, postgresql()))
    with Fleet(tmp_path, variables) as fleet:
        fleet.start("loader", "run", WAREHOUSE_DSN=postgres_dsn)
        ended = fleet.sharder("migrate", "spec.yml")
    assert ended.code == 0, ended.said
    assert "2 tables: 2 created" in ended.out
    assert not left(tmp_path)


def answer(*actions: str, error: Failure | None = None) -> Migrated:
    made = tuple(MigratedTable(source="s", table=f"t{n}", action=a) for n, a in enumerate(actions))  # type: ignore[arg-type]
    return Migrated(run="r", destination="d", tables=made, error=error)


WRONG, DOWN = Failure(message="wrong", exit_code=2), Failure(message="down")


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ([answer("created", "unchanged")], Exit.OK),
        ([answer("created", "refused")], Exit.PARTIAL),
        ([answer("refused")], Exit.OUTSIDE),
        ([answer("created"), answer(error=DOWN)], Exit.PARTIAL),
        ([answer(error=DOWN)], Exit.OUTSIDE),
        ([answer(error=WRONG)], Exit.INPUT),
        ([answer(error=WRONG), answer(error=DOWN)], Exit.OUTSIDE),
    ],
)
def test_the_exit_code_follows_from_the_answers(answers: list[Migrated], code: Exit) -> None:
    assert migrate.exit_code(answers) == code


def test_what_a_rebuild_dropped_is_in_its_line() -> None:
    table = MigratedTable(
        source="s", table="t", action="rebuilt", changes=("key none became (id)",), rows_dropped=12
    )
    lines = migrate.shown([Migrated(run="r", destination="d", tables=(table,))]).lines
    assert lines == [
        "d  t  rebuilt  key none became (id); 12 old rows dropped",
        "1 table: 1 rebuilt",
    ]
