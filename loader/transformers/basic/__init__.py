"""`cloudquery/basic`: columns removed, added, renamed and hidden, tables renamed, rows left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from contracts.table import Table
from loader.transformers.base import Shown, matches, then
from loader.transformers.basic import case, columns, hide, hide_except, keys, names, rows
from loader.transformers.basic.options import Kind, Options, Transformation

__all__ = ["Basic", "Options", "open"]

Show = Callable[[Transformation, Table, datetime], Shown]

_SHOW: Mapping[Kind, Show] = {
    "remove_columns": columns.remove,
    "rename_column": columns.rename,
    "add_column": columns.add_text,
    "add_current_timestamp_column": columns.add_time,
    "add_primary_keys": keys.add,
    "obfuscate_columns": hide.named,
    "obfuscate_columns_except": hide_except.show,
    "obfuscate_sensitive_columns": hide.sensitive,
    "change_table_names": names.show,
    "uppercase": case.upper,
    "lowercase": case.lower,
    "drop_rows": rows.drop,
}


@dataclass(frozen=True)
class Basic:
    """The transformations of one document, in their order."""

    options: Options

    def show(self, table: Table, at: datetime) -> Shown:
        shown = Shown(table)
        for t in self.options.transformations:
            if matches(t.tables or ("*",), shown.table.name):
                shown = then(shown, lambda so_far, t=t: _SHOW[t.kind](t, so_far, at))  # type: ignore[misc]
        return shown

    def name(self, table: str) -> str:
        for t in self.options.transformations:
            if t.kind == "change_table_names" and matches(t.tables or ("*",), table):
                table = names.renamed(t, table)
        return table


def open(options: Options) -> Basic:  # noqa: A001  # the verb of every registry
    return Basic(options)
