"""`sharder gc`: what goes, what never goes, and that a death at any delete only leaves work for the next."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts import layout
from contracts.commit import Attempt, Cell, Commit, Part
from contracts.errors import Permanent
from contracts.stage import Stage
from contracts.store import Store, open_store
from contracts.store.local import LocalStore
from sharder import gc, holding, lease, sweep, wishes
from sharder.cli import main
from sharder.summary import Tally
from sharder.sweep import Sweep
from tests.fakes.crash import CrashingStore
from tests.fakes.plans import AT, plan
from tests.fakes.servers import S3

DAY = 86400.0
NOW = datetime.now(UTC)


class Killed(BaseException):
    """In place of SIGKILL: no handler of ours catches it."""


def die() -> None:
    raise Killed


def part_of(run: str, shard: str, attempt: str) -> str:
    return layout.part(run, "s", "t0", shard, attempt, 0, "parquet")


def fill(
    stage: Stage, run: str, *, rounds: int = 1, closed: bool = True, cancelled: str = ""
) -> None:
    """A run of two shards a round; the second was tried twice, and the loser left its part."""
    for n in range(1, rounds + 1):
        of = plan(2, round_=n).model_copy(update={"run": run})
        stage.write_plan(of, [])
        for number, attempts in ((0, "a"), (1, "bc")):
            shard = layout.shard_id(n, number)
            for attempt in attempts:
                stage.start_attempt(Attempt(run=run, job=shard, attempt=attempt, started=AT))
                stage.store.put(part_of(run, shard, attempt), b"12345")
            part = Part(
                key=part_of(run, shard, attempts[0]),
                table="t0",
                rows=1,
                bytes=5,
                checksum="crc32:0",
                cells={"x": 1},
            )
            stage.create_commit(
                Commit(run=run, shard=shard, attempt=attempts[0], started=AT, ended=AT, parts=(part,),
                       cells=(Cell(table="t0", client="x", outcome="ok", rows=1),))
            )  # fmt: skip
        if closed or n < rounds:
            stage.close(Tally(of).summary(ended=AT, lost=0, cancelled=cancelled))


def age(stage: Stage, run: str, days: float) -> None:
    at = NOW.timestamp() - days * DAY
    for entry in list(stage.store.list(layout.run_prefix(run))):
        path = stage.store.local_path(entry.key)
        assert path
        os.utime(path, (at, at))


def keys(stage: Stage, prefix: str = "") -> list[str]:
    return [e.key for e in stage.store.list(prefix)]


def swept(stage: Stage, *, dry: bool = False, keep_days: float = 7) -> list[tuple[str, str]]:
    said: list[str] = []
    one = Sweep(stage, os.environ, NOW, said.append, keep_s=keep_days * DAY, dry=dry)
    return [(f.noun, f.name) for f in one.run()]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(open_store(str(tmp_path / "stage")))


@pytest.fixture
def full(stage: Stage) -> Stage:
    """Something of every kind."""
    fill(stage, "old")
    age(stage, "old", 9)
    fill(stage, "young", rounds=2)
    fill(stage, "open", rounds=2, closed=False)
    age(stage, "open", 30)
    stage.store.put(layout.spec("unplanned", 0), b"{}")
    age(stage, "unplanned", 2)
    stage.store.put(layout.spec("planning", 0), b"{}")
    stage.store.put(layout.history("s", "t"), b"{}")
    return stage


def test_everything_that_nobody_needs_goes_and_the_rest_stays(full: Stage) -> None:
    before = keys(full, "runs/open/") + keys(full, "runs/planning/") + keys(full, "history/")
    assert swept(full) == [("run", "old"), ("run", "unplanned"), ("part", "young")]
    assert full.runs() == ["open", "planning", "young"]
    assert (
        keys(full, "runs/open/") + keys(full, "runs/planning/") + keys(full, "history/") == before
    )
    left = {k.split("/")[-2] for k in keys(full, "runs/young/data/")}
    assert left == {"a", "b"}
    assert swept(full) == []


def test_a_dry_run_says_the_same_and_removes_nothing(full: Stage) -> None:
    before = keys(full)
    said = swept(full, dry=True)
    assert keys(full) == before
    assert said == swept(full)


def test_a_part_of_a_closed_round_goes_although_a_later_round_is_open_only_once_that_is_closed(
    stage: Stage,
) -> None:
    fill(stage, "r", rounds=2, closed=False)
    before = keys(stage)
    assert swept(stage, keep_days=0) == []
    assert keys(stage) == before


def test_parts_of_a_shard_that_the_watcher_gave_up_go(stage: Stage) -> None:
    """One start marker alone does not make a winner: the run was cancelled while it wrote."""
    of = plan(1).model_copy(update={"run": "r"})
    stage.write_plan(of, [])
    shard = layout.shard_id(1, 0)
    stage.start_attempt(Attempt(run="r", job=shard, attempt="a", started=AT))
    stage.store.put(part_of("r", shard, "a"), b"1")
    verdict = Cell(table="t0", client="", outcome="failed", reason="cancelled")
    stage.create_commit(
        Commit(run="r", shard=shard, attempt="w", started=AT, ended=AT, verdict=verdict)
    )
    stage.close(Tally(of).summary(ended=AT, lost=0, cancelled="by a person"))
    assert swept(stage) == [("part", "r")]
    assert keys(stage, "runs/r/data/") == []


def test_a_run_that_somebody_holds_stays_however_old(full: Stage) -> None:
    held = holding.Leases(full.store, "old", [("s", "d")])
    held.take()
    try:
        assert ("run", "old") not in swept(full)
        assert "old" in full.runs()
    finally:
        held.release()
    assert ("run", "old") in swept(full)


def test_a_run_that_is_taken_up_in_mid_removal_keeps_the_rest(
    full: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc, "BATCH", 1)
    monkeypatch.setattr(gc.batches, "__defaults__", (1,))
    held = holding.Leases(full.store, "old", [("s", "d")])

    class Taken:
        """Its first delete is followed by somebody who takes the run up."""

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def delete(self, found: Iterable[str]) -> None:
            real.delete(found)
            if not held_by_now:
                held_by_now.append(True)
                held.take()

    real, held_by_now = full.store, list[bool]()
    count = len(keys(full, "runs/old/"))
    full.store = Taken()  # type: ignore[assignment]
    assert gc.remove(full, "old", unless_held=wishes.now).objects == 1
    full.store = real
    held.release()
    assert len(keys(full, "runs/old/")) == count - 1


def test_killed_at_any_delete_the_next_one_ends_it_and_no_other_run_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc.batches, "__defaults__", (1,))
    deaths = 0
    for nth in range(1, 100):
        for moment in ("before", "after"):
            stage = Stage(open_store(str(tmp_path / f"{nth}-{moment}")))
            fill(stage, "old")
            fill(stage, "young")
            fill(stage, "open", rounds=2, closed=False)
            age(stage, "old", 9)
            untouched = keys(stage, "runs/open/")
            real = stage.store
            stage.store = CrashingStore(real, nth, moment, die)  # type: ignore[arg-type]
            try:
                swept(stage)
            except Killed:
                deaths += 1
            else:
                assert deaths > 20
                return
            stage.store = real
            # Whoever looks now finds no run to go on with of which half is missing.
            assert "old" not in stage.runs() or not stage.rounds("old") or nth == 1
            assert all(stage.committed("young", layout.shard_id(1, n)) for n in (0, 1))
            swept(stage)
            assert stage.runs() == ["open", "young"]
            assert keys(stage, "runs/open/") == untouched
            assert len(keys(stage, "runs/young/data/")) == 2
            assert swept(stage) == []


def test_two_at_once_end_as_one_does(full: Stage) -> None:
    barrier, errors = threading.Barrier(2), list[BaseException]()

    def one() -> None:
        barrier.wait()
        try:
            swept(Stage(open_store(full.store.url)))
        except BaseException as error:  # told by the test
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert full.runs() == ["open", "planning", "young"]
    assert len(keys(full, "runs/young/data/")) == 4


def test_temporary_files_of_the_dead_go_and_those_of_the_living_stay(stage: Stage) -> None:
    store = stage.store
    assert isinstance(store, LocalStore)
    upload, fresh = store.open_write("a/b"), store.open_write("a/c")
    upload.write(b"1" * 10_000)
    first = next(p for p, s in store.temporary() if s.st_size)
    os.utime(first, (NOW.timestamp() - 2 * DAY,) * 2)
    assert [noun for noun, _ in swept(stage)] == ["temporary file"]
    assert len(list(store.temporary())) == 1
    fresh.abort()
    with pytest.raises(Permanent, match="was removed by someone"):
        upload.close()


def test_dead_leases_go_after_a_day_and_live_ones_never(stage: Stage) -> None:
    held = holding.Leases(stage.store, "r", [("live", "d")])
    held.take()
    for source, days in (("dead", 3), ("fresh", 0.1)):
        renewed = datetime.fromtimestamp(NOW.timestamp() - days * DAY, UTC)
        gone = lease.Lease(
            run="x", source=source, destination="d", host="h", pid=1, renewed=renewed
        )
        stage.store.put(layout.lease(source, "d"), gone.to_bytes())
    assert swept(stage) == [("lease", "dead into d")]
    held.release()


def test_a_backfill_goes_whole_and_only_when_it_has_not_moved_for_a_year(stage: Stage) -> None:
    for name, ages in (("done", (800, 400)), ("slow", (800, 10))):
        for n, days in enumerate(ages):
            key = layout.backfilled(name, f"2026010{n}")
            stage.store.put(key, b"{}")
            path = stage.store.local_path(key)
            assert path
            os.utime(path, (NOW.timestamp() - days * DAY,) * 2)
    assert swept(stage) == [("backfill", "done")]
    assert len(keys(stage, "backfills/")) == 2


def test_the_last_line_is_the_sum(full: Stage) -> None:
    one = Sweep(full, os.environ, NOW, lambda _s: None, keep_s=7 * DAY)
    told = sweep.told(list(one.run()), dry=False)
    assert told.lines[-1].startswith("removed 2 runs, 2 parts: ")
    assert told.documents[-1]["objects"] == sum(int(str(d["objects"])) for d in told.documents[:-1])


@pytest.mark.s3
class TestOnS3:
    @pytest.fixture
    def store(self, s3_url: str) -> Store:
        return open_store(s3_url)

    def begin(self, s3: S3, store: Store, key: str) -> None:
        """An upload of which one piece was sent before its process was killed."""
        import boto3

        client = boto3.client("s3", endpoint_url=s3.endpoint)
        bucket, _, prefix = store.url.removeprefix("s3://").partition("/")
        where = {"Bucket": bucket, "Key": f"{prefix}/{key}"}
        upload = client.create_multipart_upload(**where)["UploadId"]
        client.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"1" * 1000)
        client.close()

    def test_unfinished_uploads_go_unless_they_are_of_an_open_run(
        self, s3: S3, store: Store
    ) -> None:
        stage = Stage(store)
        fill(stage, "open", rounds=1, closed=False)
        for key in ("runs/open/data/x", "runs/gone/data/x"):
            self.begin(s3, store, key)
        self.begin(s3, open_store(store.url + "-other"), "runs/gone/data/x")
        from contracts.store.leftovers import Pieces, leftovers

        found = leftovers(store, os.environ)
        assert isinstance(found, Pieces)
        assert sorted(x.key for x in found.older(DAY)) == ["runs/gone/data/x", "runs/open/data/x"]
        assert {x.size for x in found.older(DAY)} == {1000}
        # The server says of every upload that it was begun in 2010.
        assert list(found.older(100 * 365 * DAY)) == []
        one = Sweep(stage, os.environ, NOW, lambda _s: None, keep_s=7 * DAY)
        ended = [(f.noun, f.name) for f in one._unfinished({"open"})]
        assert ended == [("unfinished upload", "runs/gone/data/x")]
        assert [x.key for x in found.older(DAY)] == ["runs/open/data/x"]

    def test_orphans_and_runs_go_from_a_bucket_too(self, store: Store) -> None:
        stage = Stage(store)
        fill(stage, "young")
        assert swept(stage) == [("part", "young")]
        later = datetime.fromtimestamp(NOW.timestamp() + 8 * DAY, UTC)
        one = Sweep(stage, os.environ, later, lambda _s: None, keep_s=7 * DAY)
        assert [(f.noun, f.name) for f in one.run()] == [("run", "young")]
        assert stage.runs() == []


SPEC = """kind: source
spec:
  {name: files, path: file, tables: ["*"], destinations: [w], spec: {tables: [{name: t, path: "./*.csv"}]}}
---
kind: destination
spec: {name: w, path: cloudquery/duckdb, spec: {connection_string: ./w.duckdb}}
"""


def test_what_is_left_of_a_half_removed_run_is_not_taken_for_a_new_one_of_the_same_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    stage = Stage(open_store(str(tmp_path / "stage")))
    fill(stage, "nightly")
    stage.store.delete([layout.plan_index("nightly", 1)])
    (tmp_path / "spec.yml").write_text(SPEC)
    (tmp_path / "a.csv").write_text("a\n1\n2\n")
    with pytest.raises(SystemExit) as ended:
        main(["submit", "spec.yml", "--run-id", "nightly", "--stage", "./stage", "--workers", "1"])
    out, err = capfd.readouterr()
    assert ended.value.code == 0, err
    assert "2 rows" in out.splitlines()[-1]
