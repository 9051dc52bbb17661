"""`cloudquery/basic`: columns removed, added, renamed and hidden, tables renamed, rows left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from contracts.table import Table
from loader.transformers.base import Shown, matches, patterns_unmet, then
from loader.transformers.basic import case, columns, hide, hide_except, keys, names, rows
from loader.transformers.basic.options import Kind, Options, Transformation
from loader.transformers.basic.targets import has

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

    def unmet(self, tables: Sequence[Table], at: datetime) -> Iterator[str]:
        shown = [Shown(table) for table in tables]
        for t in self.options.transformations:
            now = [s.table for s in shown]
            yield from patterns_unmet(t.kind, t.tables, now)
            meant = [table for table in now if matches(t.tables or ("*",), table.name)]
            for name in _columns(t) if meant else ():
                if not any(has(table, name) for table in meant):
                    yield f"{t.kind}: no table of this run that it is for has a column '{name}'"
            shown = [
                then(s, lambda so_far, t=t: _SHOW[t.kind](t, so_far, at))  # type: ignore[misc]
                if matches(t.tables or ("*",), s.table.name)
                else s
                for s in shown
            ]


def _columns(t: Transformation) -> tuple[str, ...]:
    """The columns that a transformation expects to find."""
    return (t.name,) if t.kind == "rename_column" else t.columns


def open(options: Options) -> Basic:  # noqa: A001  # the verb of every registry
    return Basic(options)
