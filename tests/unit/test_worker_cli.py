"""`worker shard` works on a run's documents by hand; `worker run` says what it lacks."""

from __future__ import annotations

import sys
import time

import pytest

from contracts.errors import Exit
from tests.fakes.hackernews import FakeHackerNews, Forum
from tests.fakes.runs import RUN, local_stage, write_run
from worker import cli
from worker.sources.hackernews.source import ITEMS


@pytest.fixture
def worker(monkeypatch, capsys):
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["worker", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out = capsys.readouterr()
        return int(caught.value.code), out.out, out.err

    return run


@pytest.fixture
def stage(tmp_path):
    with FakeHackerNews(Forum(count=50, newest=int(time.time()))) as server:
        stage = local_stage(tmp_path)
        write_run(
            stage, [ITEMS], ["hackernews"], path="cloudquery/hackernews",
            spec={"base_url": server.url, "item_concurrency": 2},
        )  # fmt: skip
        yield stage


def test_a_shard_by_hand_prints_what_it_wrote(worker, stage):
    code, out, _ = worker("shard", RUN, "01-0000000", "--stage", stage.store.url)
    assert code == Exit.OK
    part, cell, total = out.splitlines()
    assert part.startswith(f"part runs/{RUN}/data/src/hackernews_items/01-0000000/")
    assert cell == "cell hackernews_items hackernews ok 50 rows"
    assert total.startswith("50 rows, ")
    assert stage.committed(RUN, "01-0000000")


def test_a_dry_run_writes_no_commit(worker, stage):
    code, out, _ = worker("shard", RUN, "01-0000000", "--stage", stage.store.url, "--dry-run")
    assert (code, out.splitlines()[-1][:8]) == (Exit.OK, "50 rows,")
    assert not stage.committed(RUN, "01-0000000")


def test_failed_cells_are_in_the_exit_code(worker, tmp_path):
    stage = local_stage(tmp_path)
    write_run(stage, [ITEMS], ["x"], path="sharder/nothing", spec={})
    code, out, _ = worker("shard", RUN, "01-0000000", "--stage", stage.store.url)
    assert code == Exit.PARTIAL
    assert "there is no source plugin 'nothing'" in out


def test_a_shard_that_is_no_shard_is_an_input_error(worker, tmp_path):
    code, _, err = worker("shard", RUN, "7", "--stage", str(tmp_path))
    assert (code, "not a shard id" in err) == (Exit.INPUT, True)


def test_a_run_that_is_not_there_wrote_nothing(worker, tmp_path):
    code, out, _ = worker("shard", "nope", "01-0000000", "--stage", str(tmp_path))
    assert (code, out) == (Exit.OUTSIDE, "")


def test_run_without_a_broker_says_what_to_set(worker, monkeypatch):
    monkeypatch.delenv("SHARDER_BROKER", raising=False)
    code, _, err = worker("run")
    assert (code, "SHARDER_BROKER" in err) == (Exit.INPUT, True)


def test_wrong_usage_is_an_input_error(worker):
    assert worker("shard")[0] == Exit.INPUT
