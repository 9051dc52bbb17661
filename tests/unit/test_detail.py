"""What goes on inside a round: counts, the slowest, what is in flight, who is there; and the list of runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts import layout
from contracts.commit import Attempt, Cell, Commit
from contracts.fleet import Census, Present
from contracts.plan import Plan, Shard
from contracts.queue import Message
from contracts.stage import Stage
from contracts.store import open_store
from sharder import crew, holding, listing, preview, status
from sharder.detail import Detail, detail, lines
from sharder.summary import Tally, release
from sharder.wishes import Wishes
from tests.fakes.plans import AT, plan

NOW = AT + timedelta(hours=1)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(open_store(str(tmp_path)))


def planned(stage: Stage, *shards: int, round_: int = 1) -> Plan:
    """Every shard has one client of its own."""
    found = plan(*shards, round_=round_)
    stage.write_clients("r", "s", [f"client-{n}" for n in range(found.shards)])
    of = [t.name for t in found.tables for _ in range(t.shards)]
    stage.write_plan(
        found,
        [Shard(layout.shard_id(round_, n), "s", of[n], ((n, n + 1),)) for n in range(found.shards)],
    )
    return found


def start(stage: Stage, number: int, *attempts: str, minutes: int = 0, round_: int = 1) -> None:
    for name in attempts:
        stage.start_attempt(
            Attempt(
                run="r", job=layout.shard_id(round_, number), attempt=name, worker=f"host:{name}",
                started=AT + timedelta(minutes=minutes),
            )
        )  # fmt: skip


def commit(stage: Stage, number: int, seconds: float = 1.0, *, outcome: str = "ok", reason: str | None = None, attempt: str = "a", table: str = "t0") -> None:  # fmt: skip
    cell = Cell(
        table=table, client=f"client-{number}", outcome=outcome, reason=reason, message=f"{reason}!"
    )  # type: ignore[arg-type]
    stage.create_commit(
        Commit(
            run="r", shard=layout.shard_id(1, number), attempt=attempt, worker="host:1", started=AT,
            ended=AT + timedelta(seconds=seconds), cells=(cell,),
        )
    )  # fmt: skip


def told(stage: Stage, found: Plan) -> Detail:
    return detail(stage, found, NOW)


def test_cells_are_counted_by_state_and_what_no_commit_names_is_open(stage: Stage) -> None:
    found = planned(stage, 5)
    commit(stage, 0)
    commit(stage, 1, outcome="failed", reason="denied")
    commit(stage, 3, outcome="skipped", reason="off")
    (cells,) = told(stage, found).sources
    assert (cells.cells, cells.ok, cells.failed, cells.skipped, cells.open) == (5, 1, 1, 1, 2)
    assert "5 cells: 1 ok, 1 failed, 1 skipped, 2 open" in lines(told(stage, found))[0]


def test_the_slowest_shards_done_are_named_with_client_seconds_and_worker(stage: Stage) -> None:
    found = planned(stage, 8)
    for n in range(8):
        commit(stage, n, seconds=n)
    slowest = told(stage, found).slowest
    assert [(s.shard, s.seconds) for s in slowest] == [
        (layout.shard_id(1, n), n) for n in (7, 6, 5, 4, 3)
    ]
    assert (slowest[0].clients, slowest[0].worker, slowest[0].table) == (
        ("client-7",),
        "host:1",
        "t0",
    )


def test_a_shard_of_many_clients_shows_the_first_and_the_last(stage: Stage) -> None:
    found = plan(1)
    stage.write_clients("r", "s", ["a", "b", "c", "d"])
    stage.write_plan(found, [Shard(layout.shard_id(1, 0), "s", "t0", ((0, 1), (2, 4)))])
    start(stage, 0, "a")
    (slow,) = told(stage, found).in_flight
    assert (slow.clients, slow.clients_count) == (("a", "d"), 3)
    assert "a … d (3 clients)" in "\n".join(lines(told(stage, found)))


def test_shards_with_a_marker_and_no_commit_are_in_flight(stage: Stage) -> None:
    found = planned(stage, 12)
    for n in range(10):
        start(stage, n, "a", minutes=n)
    commit(stage, 0)
    commit(stage, 4)
    said = told(stage, found)
    assert said.flying == 8
    assert [s.shard for s in said.in_flight] == [layout.shard_id(1, n) for n in (1, 2, 3, 5, 6)]
    assert said.in_flight[0].seconds == 59 * 60
    assert said.in_flight[0].worker == "host:a"


def test_attempts_that_neither_won_nor_go_on_are_lost(stage: Stage) -> None:
    found = planned(stage, 6)
    start(stage, 0, "a")
    commit(stage, 0, attempt="a")
    start(stage, 1, "a", "b", "c")
    commit(stage, 1, attempt="c")
    start(stage, 2, "a", "b", "c")
    commit(stage, 2, attempt="watch", outcome="failed", reason="lost")  # given up
    start(stage, 3, "a", "b")  # the second goes on
    assert told(stage, found).attempts_lost == 0 + 2 + 3 + 1


def test_markers_and_commits_of_other_rounds_and_of_loads_do_not_count(stage: Stage) -> None:
    found = planned(stage, 2)
    start(stage, 0, "a", round_=2)
    job = Message("load", "r", destination="d", source="s", table="t0", round=1).job
    stage.start_attempt(Attempt(run="r", job=job, attempt="x", started=AT))
    assert (told(stage, found).flying, told(stage, found).attempts_lost) == (0, 0)
    second = planned(stage, 2, round_=2)
    assert told(stage, second).flying == 1


def test_failing_cells_are_grouped_and_the_ten_largest_groups_are_shown(stage: Stage) -> None:
    found = planned(stage, *[2] * 12)
    for n in range(24):
        commit(stage, n, outcome="failed", reason="denied", table=f"t{n // 2}")
    problems = told(stage, found).problems
    assert len(problems) == 10
    assert all(p.cells == 2 and p.message == "denied!" for p in problems)


def test_a_plan_without_shards_has_nothing_in_flight(stage: Stage) -> None:
    assert told(stage, planned(stage)).sources[0].open == 0


def test_status_says_what_is_not_known_without_a_broker(stage: Stage) -> None:
    planned(stage, 2)
    start(stage, 0, "a")
    shown = preview.status_of("r", Wishes(stage=stage.store.url), {})
    assert any("not known here, as no broker is named" in line for line in shown.lines)
    assert shown.lines[-1] == "go on with: sharder resume r"
    (document,) = shown.documents
    assert document["fleet"] is None
    assert document["shards_in_flight"] == 1
    assert document["cells"][0]["open"] == 2


def test_the_status_of_a_closed_run_ends_with_its_summary(stage: Stage) -> None:
    found = planned(stage, 1)
    commit(stage, 0)
    stage.close(Tally(found).summary(ended=AT, lost=0, cancelled=""))
    shown = preview.status_of("r", Wishes(stage=stage.store.url), {})
    assert shown.lines[0] == "run r: closed"
    assert any("slowest shards done" in line for line in shown.lines)
    assert shown.lines[-1].startswith("run r: 1 table")
    assert not any("broker" in line for line in shown.lines)


@pytest.mark.redis
def test_status_on_a_fleet_names_live_workers_loaders_and_what_waits(
    stage: Stage, redis_url: str
) -> None:
    import redis

    planned(stage, 2)
    with redis.from_url(redis_url) as client:
        client.set(f"sharder:worker:shards:a:1:{release()}", 4)
        client.set(f"sharder:worker:shards:b:2:{release()}", 2)
        client.set("sharder:worker:shards:old:3", 1)  # of a release that did not say which
        client.set(f"sharder:worker:loads:c:4:{release()}", 1)
        client.rpush("shards", "1", "2")
        client.rpush("loads", "3")
    shown = preview.status_of("r", Wishes(stage=stage.store.url, broker=redis_url), {})
    text = "\n".join(shown.lines)
    assert "workers: 7 processes on 3 hosts (a, b, old); loaders: 1 process on 1 host (c)" in text
    assert "waiting in the broker: 2 shards, 1 load" in text
    assert f"other releases than {release()}: 1 of an older release" in text
    assert shown.documents[0]["fleet"]["shards"] == 2


def test_a_broker_that_does_not_answer_hides_the_fleet_and_not_the_run(stage: Stage) -> None:
    planned(stage, 1)
    shown = preview.status_of(
        "r", Wishes(stage=stage.store.url, broker="redis://127.0.0.1:1/0"), {}
    )
    assert any("not known: the broker" in line for line in shown.lines)


def test_a_fleet_of_older_releases_alone_is_told_what_becomes_of_a_newer_plan() -> None:
    census = Census(0, 0, 0, (Present("worker", "h", 1, 1, "0.0.1"),))
    (line,) = crew.odd(census)
    assert "given up after 20 hand-outs" in line
    ours = Present("worker", "g", 1, 1, release())
    (line,) = crew.odd(Census(0, 0, 0, (*census.present, ours)))
    assert "they leave to the others" in line
    assert crew.odd(Census(0, 0, 0, (ours,))) == []


class TestRuns:
    def close(self, stage: Stage, run: str, *, minutes: float = 1.0) -> None:
        of = plan(1).model_copy(update={"run": run})
        stage.write_plan(of, [])
        stage.close(Tally(of).summary(ended=AT + timedelta(minutes=minutes), lost=0, cancelled=""))

    def test_closed_runs_show_how_they_took_and_ended(self, stage: Stage) -> None:
        self.close(stage, "r1", minutes=3)
        ((one,), older) = listing.table(stage, NOW)
        assert (one.state, one.seconds, one.exit_code, one.sources, older) == (
            "closed", 180, 0, ("s",), 0
        )  # fmt: skip
        assert listing.lines([one])[1].split() == ["r1", "closed", "2026-01-01", "00:00", "3", "min", "0", "s", "s", "0", "0", "0"]  # fmt: skip

    def test_open_runs_show_for_how_long_and_who_holds_them(self, stage: Stage) -> None:
        found = planned(stage, 1)
        held = holding.Leases(stage.store, "r", status.pairs(found))
        ((one,), _) = listing.table(stage, NOW)
        assert (one.state, one.seconds, one.held_by) == ("interrupted", 3600, "")
        held.take()
        ((one,), _) = listing.table(stage, NOW)
        held.release()
        assert one.state == "running"
        assert one.held_by.startswith("process ")

    def test_only_the_newest_are_shown_and_the_others_counted(self, stage: Stage) -> None:
        import os

        for n, run in enumerate(("zz", "b", "a")):
            self.close(stage, run)
            path = stage.store.local_path(layout.plan_index(run, 1))
            assert path
            os.utime(path, (1_000_000 + n, 1_000_000 + n))
        found, older = listing.table(stage, datetime.now(UTC), 2)
        assert ([one.run for one in found], older) == (["b", "a"], 1)
        shown = preview.runs(stage.store.url, {}, 2)
        assert shown.notes == ["1 older run not shown; --limit 0 shows all"]

    def test_a_run_that_cannot_be_read_does_not_hide_the_others(self, stage: Stage) -> None:
        self.close(stage, "good")
        stage.store.put(layout.plan_index("newer", 1), b'{"version": 99}')
        stage.store.put(layout.spec("unplanned", 0), b"")
        found = {one.run: one for one in listing.table(stage, NOW)[0]}
        assert found["good"].state == "closed"
        assert "format version 99" in found["newer"].problem
        assert found["unplanned"].state == "unplanned"

    @pytest.mark.s3
    def test_a_run_that_is_shown_costs_three_requests_and_one_that_is_not_two(
        self, s3, s3_url: str
    ) -> None:
        stage = Stage(open_store(s3_url))
        for n in range(12):
            self.close(stage, f"r{n:02d}")
        s3.requests()
        listing.table(stage, NOW, 4)
        # One for the names of the runs, one for the leases.
        assert len(s3.requests()) == 2 + 12 * 2 + 4
