"""What CloudQuery calls a sync, one source into one destination, as its summary tells it: the record of
`--summary-location`, the row of `cloudquery_sync_summaries`, and the document that the row was written.

CloudQuery's fields come first and mean what they mean there as far as we can say it; ours follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.documents import Document
from contracts.plan import Plan, PlannedDestination, PlannedSource
from contracts.summary import DestinationSummary, Summary, TableSummary

TABLE = "cloudquery_sync_summaries"
# What the `_cq_*` columns of the row say already.
_NOT_COLUMNS = frozenset({"sync_time", "sync_group_id"})
OURS = "run"  # the first field that is not CloudQuery's


class SyncSummary(BaseModel):
    """One line of the summary file, one row of the summary table."""

    model_config = ConfigDict(frozen=True)

    cli_version: str = Field(description="Version of the program that closed the round")
    sync_id: str = Field(description="`--invocation-id`; the run's id if none was given")
    sync_time: datetime = Field(description="`_cq_sync_time` of the rows")
    sync_duration_ms: int = Field(description="From the plan to the last load, in milliseconds")
    source_name: str = Field(description="Name in the spec, without any shard")
    source_path: str = Field(description="As in the spec")
    source_version: str = Field("", description="As in the spec; empty if it names none")
    source_errors: int = Field(0, description="Cells (a table of a client) that failed")
    source_warnings: int = Field(0, description="Cells that were skipped")
    source_tables: tuple[str, ...] = Field((), description="`tables` of the source, as in the spec")
    destination_name: str = Field(description="Name in the spec")
    destination_path: str = Field(description="As in the spec")
    destination_version: str = Field("", description="As in the spec; empty if it names none")
    destination_errors: int = Field(0, description="Tables (with descendants) that were not loaded")
    destination_warnings: int = Field(0, description="Warnings of the loads")
    resources: int = Field(
        0, description="Rows extracted from cells that may be loaded, children included"
    )
    resources_per_table: Mapping[str, int] = Field({}, description="The same for each table")
    errors_per_table: Mapping[str, int] = Field({}, description="Failed cells of each table")
    durations_per_table_ms: Mapping[str, int] = Field(
        {},
        description="What workers spent on each top-level table with its descendants, in milliseconds",
    )
    sync_group_id: str = Field(
        "", description="`sync_group_id` of the destination, filled in; left out if it has none"
    )
    shard_num: int | None = Field(None, description="n of `--shard n/m`; left out without it")
    shard_total: int | None = Field(None, description="m of `--shard n/m`; left out without it")
    run: str = Field(description="Id of the run: `sharder status RUN`")
    round: int = Field(description="1, or more after `retry`")
    exit_code: int = Field(
        description="Exit code of the round, over all its sources and destinations"
    )
    complete: bool = Field(
        description="Whether every cell of the source ended ok and every table was loaded"
    )
    cells_ok: int = Field(0, description="Cells of the source that ended ok")
    cells_failed: int = Field(0, description="Cells that failed")
    cells_skipped: int = Field(0, description="Cells that were skipped")
    rows_published: int = Field(0, description="Rows inserted or updated in the destination")
    rows_duplicate: int = Field(0, description="Rows of the same key within a load, reduced to one")
    rows_stale: int = Field(0, description="Older rows that were removed")
    published_per_table: Mapping[str, int] = Field({}, description="Rows published in each table")
    skipped_per_table: Mapping[str, int] = Field({}, description="Skipped cells of each table")
    load_ms: int = Field(0, description="Time spent by the loads, in milliseconds")
    guarantee: str = Field("", description="What the destination promises: `transactional`, …")
    error: str = Field(
        "", description="Why a run ended before it had a plan, or the first failed load"
    )

    def to_line(self) -> dict[str, Any]:
        """The JSON object of the summary file; optional fields are left out, as CloudQuery does."""
        document = self.model_dump(mode="json", exclude_none=True)
        return {k: v for k, v in document.items() if v != "" or k != "sync_group_id"}


COLUMNS = tuple(name for name in SyncSummary.model_fields if name not in _NOT_COLUMNS)


class Conclusion(Document):
    """concluded/<destination>/<round>.json: the rows of a round's syncs are in the destination, or why not."""

    kind: ClassVar[str] = "conclusion"

    run: str
    destination: str
    round: int
    outcome: Literal["ok", "failed"]
    error: str = ""
    started: datetime
    ended: datetime
    rows: int = 0


def syncs(plan: Plan, summary: Summary, groups: Mapping[str, str]) -> Iterator[SyncSummary]:
    """One per source × destination of a closed round. `groups`: destination → its sync group, if it has one."""
    for source in plan.sources:
        for name in source.destinations:
            yield _sync(plan, summary, source, plan.destination(name), groups.get(name, ""))


def _sync(
    plan: Plan,
    summary: Summary,
    source: PlannedSource,
    destination: PlannedDestination,
    group: str,
) -> SyncSummary:
    tables = [t for t in summary.tables if t.source == source.name]
    loads = [
        d
        for d in summary.destinations
        if (d.source, d.destination) == (source.name, destination.name)
    ]
    failed = [d for d in loads if d.error]
    cells = {o: sum(getattr(t.cells, o) for t in tables) for o in ("ok", "failed", "skipped")}
    num, _, total = plan.part.partition("/")
    return SyncSummary(
        cli_version=summary.release,
        sync_id=plan.sync_id or plan.run,
        sync_time=plan.sync_time,
        sync_duration_ms=_ms((summary.ended - summary.started).total_seconds()),
        source_name=source.name,
        source_path=source.path,
        source_version=source.version,
        source_errors=cells["failed"],
        source_warnings=cells["skipped"],
        source_tables=source.tables,
        destination_name=destination.name,
        destination_path=destination.path,
        destination_version=destination.version,
        destination_errors=len(failed),
        destination_warnings=sum(d.warnings for d in loads),
        resources=sum(t.rows for t in tables),
        **_per_table(tables, loads),
        sync_group_id=group,
        shard_num=int(num) if total else None,
        shard_total=int(total) if total else None,
        run=plan.run,
        round=plan.round,
        exit_code=summary.exit_code,
        complete=not cells["failed"] and not cells["skipped"] and not failed,
        cells_ok=cells["ok"],
        cells_failed=cells["failed"],
        cells_skipped=cells["skipped"],
        rows_published=sum(d.published for d in loads),
        rows_duplicate=sum(d.duplicates for d in loads),
        rows_stale=sum(d.stale for d in loads),
        load_ms=_ms(sum(d.seconds for d in loads)),
        guarantee=next((d.guarantee for d in loads if d.guarantee), ""),
        error=failed[0].error if failed else "",
    )


def _per_table(
    tables: Sequence[TableSummary], loads: Sequence[DestinationSummary]
) -> dict[str, Any]:
    members = [m for t in tables for m in t.members]
    return {
        "resources_per_table": {m.table: m.rows for m in members},
        "errors_per_table": {m.table: m.cells.failed for m in members},
        "skipped_per_table": {m.table: m.cells.skipped for m in members},
        "durations_per_table_ms": {t.table: _ms(t.seconds) for t in tables},
        "published_per_table": {m.table: m.published for d in loads for m in d.members},
    }


def _ms(seconds: float) -> int:
    return max(round(seconds * 1000), 0)
