"""docs/reference/summary.md, made from the model of the summary file. A test compares it with the file.

python -m sharder.summary_reference docs/reference/summary.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from contracts.sync import COLUMNS, OURS, TABLE, SyncSummary

_KINDS: Mapping[object, str] = {
    str: "text", int: "number", int | None: "number", bool: "true or false",
    tuple[str, ...]: "list of texts", Mapping[str, int]: "object: table → number",
}  # fmt: skip

_HEAD = f"""\
# Summaries

Three ways to learn what a run came to, beside the last lines of `submit` and its [exit code](exit-codes.md).

## --summary-location FILE

`submit`, `sync`, `resume` and `retry` append one JSON line per source and destination when the round is
closed, that is, after every destination has confirmed its loads. Folders are made. A FILE that cannot be
written is an error before the run starts; at the end it is a warning, and the run's exit code stands. A
round is in the file once, however often its summary is told again. A run that ends before it had a plan (a
destination that does not answer, for example) leaves a line too: `round` is 0, and `error` says why. A run
that was interrupted has its lines when it is resumed.

The first fields are CloudQuery's, with its names. Ours follow, from `{OURS}` on. Differences that matter:
the line is written after the destination has confirmed and not before; `source_errors` counts cells (a
table of a client) that failed; `durations_per_table_ms` names top-level tables, because descendants are
read together with them, and adds up what all workers spent.

## The table {TABLE}

With `send_sync_summary: true` on a destination the same is written there as one row per sync: the fields
below as columns, maps as JSON, under the usual `_cq_*` columns (which is where the sync time and
the sync group are). The loader writes it once the round is closed. A row is written once, whatever dies in
between; its `_cq_id` depends on run, round and names alone, no row is ever deleted, and `retry` adds one for
its round. (Of a file destination whose path has no `{{{{UUID}}}}` every table, and so this one too, is
replaced by the next run.) If it cannot be written that is a warning of the summary and changes nothing else. The row is also in
`sharder_loads`.

```sql
-- The last sync of each source, and whether it was whole
SELECT source_name, max(_cq_sync_time), bool_and(complete)
FROM {TABLE} GROUP BY source_name;
```

## Fields
"""

_TAIL = """
## --tables-metrics-location FILE

An ASCII table that is replaced every 20 seconds and at the end: table, duration, resources, errors, panics.
Tables that are being read come first, then those that wait, then those that are done. Duration is what
workers have spent on a table with its descendants; resources are rows; errors are failed cells; panics are
cells of which every attempt died. It cannot go with a source's `otel_endpoint`.

## The summary of --json and `status --json`

The document `runs/<run>/closed/<round>.json`, described in [the design page](../design/summary.md): cells,
rows and seconds per table and each of its descendants, what each load did, problems by reason, and the 100
clients that fared worst. Every cell that did not end ok is in the table `sharder_cells` of the warehouse.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_fields(), _TAIL])


def _fields() -> Iterator[str]:
    yield "| field | kind | column | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, field in SyncSummary.model_fields.items():
        if name == OURS:
            yield "| *ours:* | | | |"
        kind = _KINDS.get(field.annotation, "RFC 3339 time")
        column = "yes" if name in COLUMNS else "`_cq_*`"
        yield f"| `{name}` | {kind} | {column} | {field.description} |"


def main() -> None:
    Path(sys.argv[1]).write_text(page())


if __name__ == "__main__":
    main()
