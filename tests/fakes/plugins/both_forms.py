"""`python -m tests.fakes.plugins.both_forms`: the same bytes, before and after CloudQuery's SDK registers its types.

Prints "same" if we make the same tables and rows of them on both roads.
"""

from __future__ import annotations

import pyarrow as pa

from contracts.plugin.consolidate import consolidated
from contracts.plugin.rows import Plain
from contracts.plugin.wire import Fast
from tests.fakes.plugins import contents, encode


def heard() -> list[pa.RecordBatch]:
    table = {"name": "things", "columns": contents.COLUMNS}
    raws = [encode.insert(nested(contents.rows(table, "a1", n, n + 3))) for n in (0, 3)]
    return [
        m.batch
        for decoder in (Plain(), Fast())
        for m in consolidated(e for raw in raws for e in decoder.events(raw))
    ]


def nested(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with a column of lists of uuid and one of lists of json."""
    for name, mark in (("_cq_id", "uuid"), ("tags", "json")):
        values = batch.column(batch.schema.get_field_index(name))
        facts = {"ARROW:extension:name": mark, "ARROW:extension:metadata": f"{mark}-serialized"}
        inner = pa.field("item", values.type, metadata=facts)
        offsets = pa.array([0, 1, 1, 3], pa.int32())
        lists = pa.ListArray.from_arrays(offsets, values, type=pa.list_(inner))
        batch = batch.append_column(pa.field(f"{name}s", lists.type), lists)
    return batch


def main() -> None:
    raw = encode.record_bytes(contents.rows({"name": "things"}, "a1", 0, 1))
    before = heard()
    import cloudquery.sdk.types  # noqa: F401 - registers uuid and json

    after = heard()
    kinds = {str(f.type) for f in pa.ipc.open_stream(raw).schema}
    if not any("uuid" in kind.lower() for kind in kinds):
        raise SystemExit(f"the SDK's types are not registered: {kinds}")
    if not all(one.equals(other) for one, other in zip(before, after, strict=True)):
        raise SystemExit("different")
    if before[0].schema != after[0].schema:
        raise SystemExit("different schemas")
    print("same")


if __name__ == "__main__":
    main()
