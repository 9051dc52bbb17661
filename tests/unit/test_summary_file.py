"""The summary file: CloudQuery's fields, one line per sync, written once and never at the cost of the run."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from contracts.commit import Cell, Commit
from contracts.errors import Denied, InputError, LeaseHeld, SharderError
from contracts.plan import Plan, PlannedDestination, PlannedSource, PlannedTable, Shard
from contracts.receipt import LoadedTable, Receipt
from contracts.specfile import load
from contracts.summary import Summary
from contracts.sync import SyncSummary, syncs
from contracts.table import Table
from sharder.summary import Tally
from sharder.summary_file import Unplanned, check, write
from sharder.summary_reference import page

AT = datetime(2026, 1, 1, 5, 7, tzinfo=UTC)

# The record of `cloudquery sync --summary-location`, as its documentation and users show it.
CLOUDQUERY = {
    "cli_version", "sync_id", "sync_time", "sync_duration_ms",
    "source_name", "source_path", "source_version", "source_errors", "source_warnings", "source_tables",
    "destination_name", "destination_path", "destination_version", "destination_errors",
    "destination_warnings", "resources", "resources_per_table", "errors_per_table",
    "durations_per_table_ms",
}  # fmt: skip


def plan(**more: Any) -> Plan:
    tree = (Table("t", ()), Table("child", (), parent="t"))
    return Plan(
        run="r", round=1, created=AT, sync_time=AT, shards=2, cells=4,
        sources=(PlannedSource(name="s", path="cloudquery/s", spec=0, destinations=("d", "e"), clients=2,
                               version="v1.2.3", tables=("t*",)),),
        destinations=(PlannedDestination(name="d", path="p", spec=1, sync_group_id="{{YEAR}}/{{SYNC_ID}}"),
                      PlannedDestination(name="e", path="q", spec=2, version="v9")),
        tables=(PlannedTable(source="s", name="t", tree=tree, selected=("t", "child"), first=0, shards=2,
                             cells=4, clients=((0, 2),), authoritative=True),), **more,
    )  # fmt: skip


def receipt(destination: str, *, outcome: str = "ok") -> Receipt:
    return Receipt(
        run="r", destination=destination, source="s", table="t", round=1, rounds=(1,), load="l",
        outcome=outcome, guarantee="transactional", started=AT, ended=AT + timedelta(seconds=2),
        error="" if outcome == "ok" else "disk full", warnings=("careful",),
        tables=(LoadedTable(table="t", published=3, stale=4, duplicates=1), LoadedTable(table="child", published=5)),
    )  # fmt: skip


def summary(planned: Plan, *receipts: Receipt) -> Summary:
    tally = Tally(planned)
    cells = (
        Cell(table="t", client="a", outcome="ok", rows=4),
        Cell(table="child", client="a", outcome="ok", rows=5),
        Cell(table="t", client="b", outcome="failed", reason="denied", message="no"),
        Cell(table="child", client="b", outcome="skipped", reason="parent"),
    )
    commit = Commit(run="r", shard="01-0000000", attempt="x", started=AT, ended=AT + timedelta(seconds=1.5), cells=cells)  # fmt: skip
    tally.add(Shard("01-0000000", "s", "t", ((0, 2),)), commit)
    for one in receipts:
        tally.load(one)
    return tally.summary(
        ended=AT + timedelta(seconds=60), lost=0, cancelled="", release="1.0.0"
    )  # fmt: skip


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def written(path: Path, planned: Plan, outcomes: Sequence[str] = ("ok", "ok")) -> list[dict[str, Any]]:  # fmt: skip
    found = summary(planned, *(receipt(d, outcome=o) for d, o in zip("de", outcomes, strict=True)))
    assert write(str(path), planned, found) == ""
    return lines(path)


def test_a_line_has_all_of_cloudquerys_fields_and_then_ours(tmp_path):
    first, second = written(tmp_path / "s.jsonl", plan())
    assert first.keys() >= CLOUDQUERY
    assert list(first).index("run") > max(list(first).index(name) for name in CLOUDQUERY)
    assert first["sync_id"] == "r"
    assert first["sync_time"] == "2026-01-01T05:07:00Z"
    assert first["sync_duration_ms"] == 60_000
    assert (first["source_version"], first["source_tables"]) == ("v1.2.3", ["t*"])
    assert first["resources"] == 9
    assert first["resources_per_table"] == {"t": 4, "child": 5}
    assert first["errors_per_table"] == {"t": 1, "child": 0}
    assert first["durations_per_table_ms"] == {"t": 1500}
    assert (first["source_errors"], first["source_warnings"]) == (1, 1)
    assert (first["rows_published"], first["rows_stale"], first["rows_duplicate"]) == (8, 4, 1)
    assert first["published_per_table"] == {"t": 3, "child": 5}
    assert first["skipped_per_table"] == {"t": 0, "child": 1}
    assert (first["complete"], first["exit_code"]) == (False, 3)
    assert (second["destination_name"], second["destination_version"]) == ("e", "v9")


def test_what_is_optional_is_left_out_or_filled_in(tmp_path):
    first, second = written(tmp_path / "s.jsonl", plan())
    assert first["sync_group_id"] == "2026/r"
    assert not {"sync_group_id", "shard_num", "shard_total"} & second.keys()
    (part, _) = written(tmp_path / "p.jsonl", plan(part="2/3", sync_id="inv"))
    assert (part["shard_num"], part["shard_total"]) == (2, 3)
    assert (part["sync_id"], part["source_name"]) == ("inv", "s")
    assert part["sync_group_id"] == "2026/inv"


def test_a_load_that_failed_is_an_error_of_its_destination_alone(tmp_path):
    first, second = written(tmp_path / "s.jsonl", plan(), ("ok", "failed"))
    assert (first["destination_errors"], first["error"]) == (0, "")
    assert (second["destination_errors"], second["error"]) == (1, "disk full")
    assert second["destination_warnings"] == 1


def test_lines_are_appended_and_a_round_is_there_once(tmp_path):
    path = tmp_path / "deep" / "er" / "s.jsonl"
    check(str(path))
    path.write_text('not json "r"\n{"run":"other"}\n["r"]\n')
    found = summary(plan(), receipt("d"), receipt("e"))
    for _ in range(2):
        assert write(str(path), plan(), found) == ""
    assert len(path.read_bytes().splitlines()) == 5
    later = plan().model_copy(update={"round": 2})
    assert write(str(path), later, found) == ""
    assert len(path.read_bytes().splitlines()) == 7


def test_a_line_that_is_missing_is_made_up_for(tmp_path):
    path = tmp_path / "s.jsonl"
    written(path, plan())
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert len(written(path, plan())) == 2


def test_a_place_that_cannot_be_written_is_told_before_the_run(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--summary-location .*: Not a directory"):
        check(str(tmp_path / "file" / "s.jsonl"))
    with pytest.raises(InputError, match="Is a directory"):
        check(str(tmp_path))
    check("")


def test_at_the_end_it_is_only_a_warning(tmp_path):
    (tmp_path / "file").write_text("")
    why = write(str(tmp_path / "file" / "s.jsonl"), plan(), summary(plan()))
    assert why == f"the summary was not written to {tmp_path}/file/s.jsonl: Not a directory"
    assert write("", plan(), summary(plan())) == ""


def test_a_disk_that_is_full_is_a_warning_too():
    why = write("/dev/full", plan(), summary(plan()))
    assert "No space left" in why


def test_half_a_line_is_a_warning_too(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    found = summary(plan())
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        why = write(str(tmp_path / "s.jsonl"), plan(), found)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "only 100 of" in why


SPEC = """\
kind: source
spec: {name: s, path: cloudquery/s, version: v1.0.0, tables: ["*"], destinations: [d]}
---
kind: destination
spec: {name: d, path: cloudquery/duckdb}
"""


@pytest.mark.parametrize(
    ("error", "lines_"),
    [(Denied("wrong password"), 1), (InputError("typo"), 0), (LeaseHeld("busy"), 0), (KeyboardInterrupt(), 0)],
)  # fmt: skip
def test_a_run_that_failed_before_its_plan_leaves_a_line(tmp_path, error: BaseException, lines_: int):  # fmt: skip
    (tmp_path / "spec.yml").write_text(SPEC)
    loaded = load([tmp_path / "spec.yml"], {}, AT)
    path = tmp_path / "s.jsonl"
    check(str(path))
    with (
        pytest.raises(type(error)),
        Unplanned(str(path), loaded, loaded.spec.sources, "r", "inv", AT, print),
    ):
        raise error
    found = lines(path)
    assert len(found) == lines_
    if found:
        assert (found[0]["exit_code"], found[0]["complete"], found[0]["resources"]) == (4, False, 0)
        assert (found[0]["error"], found[0]["sync_id"]) == ("wrong password", "inv")


def test_once_there_is_a_plan_resume_writes_the_lines(tmp_path):
    (tmp_path / "spec.yml").write_text(SPEC)
    loaded = load([tmp_path / "spec.yml"], {}, AT)
    path = tmp_path / "s.jsonl"
    start = Unplanned(str(path), loaded, loaded.spec.sources, "r", "", AT, print)
    start.planned()
    with pytest.raises(SharderError), start:
        raise Denied("the store is gone")
    assert not path.exists()


def test_the_reference_page_is_what_the_model_says():
    path = Path(__file__).parents[2] / "docs" / "reference" / "summary.md"
    assert path.read_text() == page(), "run: make docs"


def test_every_field_is_described():
    assert all(f.description for f in SyncSummary.model_fields.values())


def test_a_summary_of_an_older_release_still_gives_lines():
    old = Path(__file__).parents[1] / "golden" / "v1" / "older" / "summary.json"
    found = Summary.from_bytes(old.read_bytes())
    planned = plan().model_copy(update={"sources": (plan().sources[0].model_copy(update={"name": "aws", "destinations": ("e",)}),)})  # fmt: skip
    (one,) = syncs(planned, found, {})
    assert (one.resources, one.source_errors, one.resources_per_table) == (2, 1, {})
