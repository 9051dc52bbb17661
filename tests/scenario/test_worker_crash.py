"""A worker is killed at every write of a shard; the next attempt ends with the same rows, once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.stage import Stage
from contracts.stagefile import read_part
from contracts.store.local import LocalStore
from tests.fakes import dying
from tests.fakes.runs import RUN

SHARD = "01-0000000"


@pytest.fixture(scope="module")
def worker():
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.dying"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:

        def kill_at(path: Path, nth: int, moment: str) -> int:
            process.stdin.write(f"{path} {nth} {moment}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield kill_at
        process.stdin.close()


def loadable(path: Path) -> dict[tuple[str, str], list[int]]:
    stage = Stage(LocalStore(path))
    table = stage.plan(RUN, 1).tables[0]
    found: dict[tuple[str, str], list[int]] = {key: [] for key in dying.EXPECTED}
    for part in stage.commit(RUN, SHARD).parts:
        for batch in read_part(stage.store, part, table.table(part.table), "parquet"):
            for row in batch.to_pylist():
                found[part.table, row["_cq_client_id"]].append(row["k"])
    return found


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_worker_killed_at_any_write_costs_no_row_and_doubles_none(worker, tmp_path, moment):
    dying.prepare(tmp_path / "whole")
    writes = dying.one_attempt(tmp_path / "whole")
    assert writes > 10
    for nth in range(1, writes + 1):
        path = tmp_path / str(nth)
        assert worker(path, nth, moment) == -signal.SIGKILL
        survived = Stage(LocalStore(path)).committed(RUN, SHARD)
        assert survived == (nth == writes and moment == "after")
        dying.one_attempt(path)
        assert loadable(path) == dying.EXPECTED
        commit = Stage(LocalStore(path)).commit(RUN, SHARD)
        assert {(c.table, c.client): c.rows for c in commit.cells} == {
            key: len(rows) for key, rows in dying.EXPECTED.items()
        }
