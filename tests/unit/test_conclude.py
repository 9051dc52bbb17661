"""The summary of a round in the warehouse: one row per sync, written once, and never worth a lost run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from contracts.errors import Unreachable
from contracts.queue import Message
from contracts.sync import TABLE, Conclusion
from loader import handle as handler
from loader.cache import Warehouses
from loader.conclude import conclude, table
from sharder.conclude import Concluding, missing, told
from sharder.flight import EMBEDDED
from sharder.summary import Tally
from tests.fakes.stage import NOW, Bad, StageRun, StillHeart, rows, shard
from tests.fakes.stage import table as of_shard

Query = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(params=["duckdb", pytest.param("postgresql", marks=pytest.mark.postgres)])
def engine(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[str, dict[str, str], Query]]:
    """Path and options of a destination, and a way to look into it."""
    if request.param == "duckdb":
        file = str(tmp_path / "w.duckdb")

        def query(sql: str) -> list[tuple[Any, ...]]:
            with duckdb.connect(file) as connection:
                return connection.execute(sql).fetchall()

        yield "cloudquery/duckdb", {"connection_string": file}, query
        return
    dsn = request.getfixturevalue("postgres_dsn")

    def ask(sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(dsn, options="-csearch_path=public") as connection:
            return connection.execute(sql).fetchall()

    yield "cloudquery/postgresql", {"connection_string": dsn}, ask


def made(tmp_path: Path, path: str, spec: dict[str, str], **outer: Any) -> StageRun:
    return StageRun(tmp_path / "stage", path=path, spec=spec, **outer)


def close(run: StageRun, number: int = 1) -> None:
    """Load what the round extracted and close it, as the watcher does."""
    run.load(number)
    plan = run.stage.plan(run.run, number)
    tally = Tally(plan)
    for id_ in run.stage.committed_shards(run.run):
        if id_.startswith(f"{number:02d}-"):
            tally.add(run.stage.shard(run.run, id_), run.stage.commit(run.run, id_))
    receipt = run.stage.receipt(run.run, "w", run.source, run.top.name, number)
    assert receipt
    tally.load(receipt)
    ended = NOW + timedelta(seconds=90)
    run.stage.close(tally.summary(ended=ended, lost=0, cancelled="", release="9.9.9"))


def message(run: StageRun, number: int = 1) -> Message:
    return Message("conclude", run.run, destination="w", round=number)


def concluded(run: StageRun, number: int = 1, warehouses: Warehouses | None = None) -> Conclusion:
    found = conclude(
        message(run, number), stage=run.stage, heart=StillHeart(), environment={}, warehouses=warehouses
    )  # fmt: skip
    assert found
    return found


def test_a_sync_has_one_row_with_the_fields_of_the_summary(engine, tmp_path):
    path, spec, query = engine
    run = made(tmp_path, path, spec)
    run.round([shard({"a": rows(1, 2)}), shard({"b": Bad("denied")})])
    close(run)
    assert concluded(run).outcome == "ok"
    ((sync_id, name, errors, resources, per_table, ms, version, complete, source, client),) = query(
        "SELECT sync_id, destination_name, source_errors, resources, resources_per_table, "
        "sync_duration_ms, cli_version, complete, _cq_source_name, _cq_client_id "
        f"FROM {TABLE}"
    )
    assert (sync_id, name, int(errors), int(resources)) == ("run-1", "w", 1, 2)
    per_table = per_table if isinstance(per_table, dict) else json.loads(per_table)
    assert per_table == {"items": 2}
    assert (int(ms), version, complete, source, client) == (90_000, "9.9.9", False, "src", None)


def test_the_loads_table_of_the_warehouse_knows_of_it(engine, tmp_path):
    path, spec, query = engine
    run = made(tmp_path, path, spec)
    run.round([shard({"a": rows(1)})])
    close(run)
    concluded(run)
    assert query(f"SELECT rows FROM sharder_loads WHERE table_name = '{TABLE}'") == [(1,)]


@pytest.mark.parametrize("mode", ["overwrite-delete-stale", "overwrite", "append"])
def test_a_repeated_conclude_changes_nothing_even_if_the_document_was_lost(engine, tmp_path, mode):
    path, spec, query = engine
    run = made(tmp_path, path, spec, write_mode=mode)
    run.round([shard({"a": rows(1)})])
    close(run)
    concluded(run)
    before = query(f"SELECT * FROM {TABLE}")
    again = f"runs/{run.run}/concluded/w/1.json"
    run.stage.store.delete([again])
    assert concluded(run).outcome == "ok"
    assert query(f"SELECT * FROM {TABLE}") == before


@pytest.mark.parametrize("mode", ["overwrite-delete-stale", "append"])
def test_every_round_and_every_run_adds_a_row_and_removes_none(engine, tmp_path, mode):
    path, spec, query = engine
    run = made(tmp_path, path, spec, write_mode=mode)
    run.round([shard({"a": Bad("denied")})])
    close(run)
    concluded(run)
    run.round([shard({"a": rows(1)})], number=2, authoritative=False)
    close(run, 2)
    concluded(run, 2)
    later = StageRun(
        tmp_path / "stage", path=path, spec=spec, write_mode=mode, run="run-2",
        sync_time=datetime(2026, 1, 2, tzinfo=UTC),
    )  # fmt: skip
    later.round([shard({"a": rows(1)})])
    close(later)
    concluded(later)
    found = query(f"SELECT sync_id, round FROM {TABLE} ORDER BY 1, 2")
    assert [(s, int(n)) for s, n in found] == [("run-1", 1), ("run-1", 2), ("run-2", 1)]


def test_the_sync_group_has_its_column(engine, tmp_path):
    path, spec, query = engine
    run = made(tmp_path, path, spec, write_mode="append", sync_group_id="{{YEAR}}-{{MONTH}}")
    run.round([shard({"a": rows(1)})])
    close(run)
    concluded(run)
    assert query(f"SELECT _cq_sync_group_id FROM {TABLE}") == [("2026-01",)]


def test_nothing_of_the_landing_tables_is_left(engine, tmp_path):
    path, spec, query = engine
    run = made(tmp_path, path, spec)
    run.round([shard({"a": rows(1)})])
    close(run)
    concluded(run)
    assert query(
        "SELECT table_name FROM information_schema.tables "
        "WHERE table_schema = 'sharder' AND table_name <> 'fence'"
    ) == []  # fmt: skip


def test_a_table_of_cloudquerys_own_takes_the_row(engine, tmp_path):
    path, spec, query = engine
    run = made(tmp_path, path, spec, write_mode="append")
    run.round([shard({"a": rows(1)})])
    close(run)
    made_there = (
        f"CREATE TABLE {TABLE} (_cq_sync_time timestamp, _cq_source_name text, sync_id text)"
    )
    if path.endswith("duckdb"):
        with duckdb.connect(spec["connection_string"]) as connection:
            connection.execute(made_there)
    else:
        # The user of the tests is called like our schema.
        dsn = spec["connection_string"]
        with psycopg.connect(dsn, options="-csearch_path=public") as connection:
            connection.execute(made_there)
    assert concluded(run).error == ""
    assert query(f"SELECT sync_id FROM {TABLE}") == [("run-1",)]


@pytest.fixture
def run(tmp_path: Path) -> StageRun:
    found = made(tmp_path, "cloudquery/duckdb", {"connection_string": str(tmp_path / "w.duckdb")})
    found.round([shard({"a": rows(1)})])
    return found


def test_an_open_round_has_no_summary_to_write(run):
    assert "not closed" in concluded(run).error


def test_what_another_try_would_meet_again_is_a_conclusion_with_the_reason(run, tmp_path):
    close(run)
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute(f"CREATE TABLE {TABLE} (sync_id integer, _cq_id uuid)")
    found = concluded(run)
    assert found.outcome == "failed"
    assert "column 'sync_id'" in found.error


def test_without_migration_a_missing_table_stays_missing(run):
    close(run)
    plan = run.stage.plan("run-1", 1).model_copy(update={"migrate": False})
    run.stage.store.put("runs/run-1/plan/1/index.json", plan.to_bytes())
    run.stage.plan.cache_clear()
    found = concluded(run)
    assert "--no-migrate" in found.error


def test_a_destination_that_does_not_answer_is_asked_again(run):
    close(run)

    def away(_found: object) -> Any:
        raise Unreachable("the database does not answer")

    with pytest.raises(Unreachable):
        concluded(run, warehouses=Warehouses(away))
    assert run.stage.conclusion("run-1", "w", 1) is None
    assert "does not answer" in run.stage.last_error("run-1", message(run).job)
    assert concluded(run).outcome == "ok"


def test_while_another_attempt_is_alive_nothing_is_done(run):
    class Busy(StillHeart):
        def fresh(self, run: str, job: str) -> bool:
            return True

    close(run)
    assert conclude(message(run), stage=run.stage, heart=Busy(), environment={}) is None


def test_every_column_is_described():
    names = [c.name for c in table().columns]
    assert names[:5] == ["_cq_sync_time", "_cq_source_name", "_cq_id", "_cq_parent_id", "_cq_client_id"]  # fmt: skip
    assert all(c.description for c in table().columns)
    assert "sync_time" not in names


# The watcher's side


class Silent:
    """A queue whose messages nobody takes, or whose taker dies."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    def put(self, messages: Any) -> None:
        self.sent += messages

    def waiting(self) -> int:
        return 0

    def beats(self, run: str, jobs: Any) -> dict[str, str]:
        return {}

    def workers(self) -> int:
        return 1

    def close(self) -> None: ...


def wanting(run: StageRun) -> Any:
    plan = run.stage.plan(run.run, 1)
    destinations = [d.model_copy(update={"send_sync_summary": True}) for d in plan.destinations]
    return plan.model_copy(update={"destinations": tuple(destinations)})


def test_a_destination_that_wants_no_summary_is_not_asked(run):
    queue = Silent()
    plan = run.stage.plan(run.run, 1)
    assert Concluding(run.stage, queue, plan, EMBEDDED).step(0.0)
    assert queue.sent == []
    assert not missing(run.stage, plan)


def test_a_lost_message_is_sent_again_until_the_conclusion_is_there(run):
    close(run)
    queue, plan = Silent(), wanting(run)
    waiting = Concluding(run.stage, queue, plan, EMBEDDED)
    assert not any(waiting.step(float(n)) for n in range(4))
    assert queue.sent == [message(run)] * 2
    assert missing(run.stage, plan)
    concluded(run)
    assert waiting.step(9.0)
    assert not missing(run.stage, plan)


def test_a_loader_that_dies_over_and_over_becomes_a_warning_of_the_summary(run):
    close(run)
    queue, plan = Silent(), wanting(run)
    for n in range(EMBEDDED.attempts):
        run.stage.store.put(
            f"runs/run-1/attempts/conclude%20w%201/{n}.json",
            b'{"run":"run-1","job":"conclude w 1","attempt":"x","started":"2026-01-01T00:00:00Z",'
            b'"error":"it broke"}',
        )
    waiting = Concluding(run.stage, queue, plan, EMBEDDED)
    assert any(waiting.step(float(n)) for n in range(9))
    summary = run.stage.summary("run-1", 1)
    (warning,) = told(run.stage, plan, summary).warnings
    assert "3 attempts started" in warning
    assert "it broke" in warning
    assert told(run.stage, plan, told(run.stage, plan, summary)).warnings == (warning,)
    assert summary.exit_code == 0


def test_the_handler_takes_the_message(run, monkeypatch):
    close(run)
    monkeypatch.setenv("SHARDER_STAGE", str(run.stage.store.url))
    try:
        handler.handle(message(run).to_bytes(), StillHeart())
    finally:
        handler._warehouses().close()
    assert run.stage.conclusion("run-1", "w", 1).rows == 1


def test_parallel_shards_of_a_sync_have_a_row_each_whoever_is_first(tmp_path):
    spec = {"connection_string": str(tmp_path / "w.duckdb")}
    for n, day in ((2, 2), (1, 1)):  # the later one concludes first
        found = StageRun(
            tmp_path / "stage", of_shard(f"items{n}"), spec=spec, run=f"r-{n}-of-2",
            sync_time=datetime(2026, 1, day, tzinfo=UTC),
        )  # fmt: skip
        found.round([shard({"a": rows(1)})])
        close(found)
        plan = found.stage.plan(found.run, 1).model_copy(update={"part": f"{n}/2"})
        found.stage.store.put(f"runs/{found.run}/plan/1/index.json", plan.to_bytes())
        found.stage.plan.cache_clear()
        assert concluded(found).error == ""
    with duckdb.connect(spec["connection_string"]) as connection:
        numbers = connection.execute(f"SELECT shard_num, shard_total FROM {TABLE} ORDER BY 1")
        assert numbers.fetchall() == [(1, 2), (2, 2)]


@pytest.mark.parametrize("path", ["{{TABLE}}/{{UUID}}.json", "{{TABLE}}.json"])
def test_a_destination_of_files_has_the_rows_of_all_rounds(tmp_path, path):
    place = tmp_path / "files"
    spec = {"path": f"{place}/{path}", "format": "json", "no_rotate": "UUID" not in path}
    run = made(tmp_path, "cloudquery/file", spec, write_mode="append")
    run.round([shard({"a": Bad("denied")})])
    close(run)
    assert concluded(run).error == ""
    run.round([shard({"a": rows(1)})], number=2, authoritative=False)
    close(run, 2)
    for _ in range(2):
        assert concluded(run, 2).error == ""
        run.stage.store.delete([f"runs/{run.run}/concluded/w/2.json"])
    lines = [
        json.loads(line)
        for file in sorted(place.glob(f"{TABLE}*")) + sorted(place.glob(f"{TABLE}/*"))
        if file.is_file()
        for line in file.read_text().splitlines()
    ]
    assert sorted((s["round"], s["source_errors"]) for s in lines) == [(1, 1), (2, 0)]
