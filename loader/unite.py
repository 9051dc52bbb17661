"""The schema of a table over all parts of a load: the plan's, grown as far as the attempts let it grow.

Parts of the plan's form, or of an earlier one, are read as the united table has them: columns that they lack
are null, values are cast where nothing is lost.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from contracts.errors import Permanent, SchemaChanged
from contracts.evolution import united, widened
from contracts.table import Table
from loader.outcomes import Loadable


def united_over(planned: Table, parts: Sequence[Loadable]) -> Table:
    """Raises Permanent, and names the part, if the forms of two shards have no form that holds both."""
    table = planned
    for form in dict.fromkeys(p.form for p in parts if p.form):
        try:
            # The table so far is one of the forms: uniting is the same whatever their order.
            table = united(planned, [table, form])
        except SchemaChanged as error:
            first = next(p.part.key for p in parts if p.form == form)
            raise Permanent(
                f"{error.message}: {first} does not agree with the parts before it; nothing was loaded, and no "
                "older row was removed",
                f"leave the table out (skip_tables: [{planned.name}]) until its source says one thing everywhere",
            ) from error
    return table


def alike(parts: Sequence[Loadable], planned: Table, table: Table) -> bool:
    """Whether every part has exactly the columns of `table`."""
    forms = {p.form or planned for p in parts}
    return all(form.columns == table.columns for form in forms)


def fitted(batch: pa.RecordBatch, table: Table) -> pa.RecordBatch:
    """A batch of an earlier form as the united table has it. Raises Permanent for a value out of range."""
    if batch.schema == table.schema:
        return batch
    columns = []
    for column in table.columns:
        if column.name not in batch.schema.names:
            columns.append(pa.nulls(batch.num_rows, column.type))
            continue
        try:
            columns.append(widened(batch.column(column.name), column.type))
        except pa.ArrowException as error:
            raise Permanent(
                f"table '{table.name}': a value of the column '{column.name}' has no place in {column.type}, "
                f"to which the column grew in another part: {error}"
            ) from error
    return pa.RecordBatch.from_arrays(columns, schema=table.schema)
