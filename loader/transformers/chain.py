"""The transformers of one destination in a row, and what they must leave alone for its write mode.

They are applied in the order in which their documents stand in the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime

from contracts.errors import InputError
from contracts.spec import Destination
from contracts.table import CLIENT_ID, ID, SOURCE_NAME, SYNC_TIME, Table
from loader.transformers.base import Shown, Started, Transformer, keeping, then

_STALE = (SYNC_TIME, SOURCE_NAME, CLIENT_ID)  # what tells older rows of a client from newer ones


@dataclass(frozen=True)
class Chain:
    """None at all for a destination without transformers."""

    transformers: tuple[Transformer, ...] = ()

    def show(self, table: Table, at: datetime) -> Shown:
        """The planned table as the destination gets it. `at` is the beginning of the load, with zone.

        Raises InputError for a table that the options of a transformer do not fit.
        """
        shown = Shown(table)
        for transformer in self.transformers:
            shown = then(shown, lambda so_far, t=transformer: t.show(so_far, at))  # type: ignore[misc]
        return shown

    def name(self, table: str) -> str:
        """The name under which a table is shown."""
        for transformer in self.transformers:
            table = transformer.name(table)
        return table

    def start(self) -> None:
        """Have programs among them take their options, so that what is wrong is told early."""
        for transformer in self.transformers:
            if isinstance(transformer, Started):
                transformer.start()

    def close(self) -> None:
        """End the programs among them."""
        with ExitStack() as stack:
            for transformer in self.transformers:
                if isinstance(transformer, Started):
                    stack.callback(transformer.close)

    def unmet(self, tables: Sequence[Table], at: datetime) -> Iterator[str]:
        """What the transformers name and none of the tables has, each as the one before it shows them."""
        for transformer in self.transformers:
            yield from transformer.unmet(tables, at)
            tables = [transformer.show(table, at).table for table in tables]

    def checked(self, table: Table, destination: Destination, at: datetime) -> Shown:
        """Like `show`. Raises InputError, too, for what the destination's write mode cannot do without."""
        shown = self.show(table, at)
        if destination.write_mode == "append":
            return shown
        _refuse_without_key(shown, table, destination)
        if destination.write_mode == "overwrite-delete-stale":
            for name in _STALE:
                if name in table and (name not in shown.table or name in shown.altered):
                    raise _refused(
                        destination, table, f"column '{name}'", "tell stale rows from others"
                    )
            if shown.opaque and shown.batch:
                return replace(shown, batch=keeping(shown.batch, _STALE, table.name))
        return shown


def _refuse_without_key(shown: Shown, table: Table, destination: Destination) -> None:
    """A key column may get another name, but not go or lose what tells its rows apart."""
    by_id = destination.pk_mode == "cq-id-only"
    for name in (ID,) if by_id else table.primary_key:
        now = name if by_id else shown.renames.get(name, name)
        if now not in shown.table or now in shown.blurred:
            raise _refused(destination, table, f"key column '{name}'", "tell its rows apart")


def _refused(destination: Destination, table: Table, what: str, for_: str) -> InputError:
    return InputError(
        f"the transformers of destination '{destination.name}' remove, rename or change {what} of table "
        f"'{table.name}', which `write_mode: {destination.write_mode}` needs to {for_}; nothing was loaded",
        "leave the column as it is, or set `write_mode: append`",
    )


def refuse_clashes(
    chain: Chain, tables: Iterable[str], destination: str, folded: Callable[[str], str]
) -> None:
    """`tables`: planned names of a run; `folded`: the form in which an engine compares names.

    Raises InputError if two of them end up under one name. (Several sources may fill one table: that is
    one planned name.)
    """
    by_name: dict[str, str] = {}
    for table in tables:
        name = folded(chain.name(table))
        other = by_name.setdefault(name, table)
        if other != table:
            raise InputError(
                f"tables '{other}' and '{table}' would both be called '{chain.name(table)}' in "
                f"destination '{destination}'; nothing was loaded",
                "narrow `tables` of change_table_names, or use {{.OldName}} in its template",
            )
