"""A Warehouse that is a place for files. Nothing lands and nothing is merged: `publish` writes the rows.

A load that is repeated writes the same files under the same names; a file appears whole or not at all; the
files of a load appear one after another. What no store can do for us (rounds that were loaded, a transaction
over tables, stale rows) is left to the receipts on the stage, or left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa

from contracts.errors import Denied, InputError, NotFound, Permanent
from contracts.plan import Plan
from contracts.receipt import LoadedTable
from contracts.store import Store
from loader.publication import (
    Publication,
    Published,
    TablePublication,
    check_copied,
)
from loader.warehouses.base import Traits
from loader.warehouses.files import dialects, encodings
from loader.warehouses.files.athena import cleaned
from loader.warehouses.files.claim import claim
from loader.warehouses.files.options import FilesOptions
from loader.warehouses.files.paths import Run, refuse_same_names
from loader.warehouses.files.roll import Limits, Roll
from loader.warehouses.files.state import State
from loader.warehouses.sink import Sink

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def admit(options: FilesOptions, plan: Plan, destination: str, shown: Callable[[str], str]) -> None:
    """Refuse what would overwrite rows that are good, before anything is written. Raises InputError."""
    template = options.template
    if not template.fixed:
        return
    run = Run(plan.run, plan.sync_time, plan.sync_id)
    mine = [t for t in plan.tables if destination in plan.source(t.source).destinations]
    if mine and plan.clients and not template.has("SYNC_ID"):
        raise InputError(
            f"the run was narrowed by --client, and in destination '{destination}' a run replaces the whole "
            "file of a table: the rows of all other clients would be gone; nothing was written",
            "leave --client out, or put {{UUID}} into `path` and leave out no_rotate, or put {{SYNC_ID}} into it",
        )
    refuse_same_names(template, run, {
        (t.source, shown(name)): f"table '{name}' of source '{t.source}'" for t in mine for name in t.selected
    })  # fmt: skip
    kept = {source for d in plan.destinations for source in d.holds_state_of}
    incremental = (
        table.name
        for planned in mine
        if planned.source in kept
        for table in planned.tree
        if table.incremental and table.name in planned.selected
    )
    if template.lasting and (name := next(incremental, "")):
        raise InputError(
            f"table '{name}' is incremental: a run brings only what is new, and would "
            f"write it over the file with the rest in destination '{destination}'; nothing was written",
            "put {{UUID}} into `path` and leave out no_rotate, or put {{SYNC_ID}} into it",
        )


class FileWarehouse(Sink):
    """The destination of one `spec`. `traits.whole`: a table has one name, whatever the round of a load."""

    traits = Traits("keyed-idempotent", lands=False, fenced=False, merges=False)

    def __init__(
        self,
        store: Store,
        options: FilesOptions,
        *,
        athena: bool = False,
        empty_files: bool = False,
        probes: bool = True,
    ) -> None:
        self.dialect = dialects.of(options)
        self._store = store
        self._options = options
        self._template = options.template
        self._encoding = encodings.of(options)
        self._athena = athena
        self._empty_files = empty_files
        self._probes = probes
        self.traits = replace(FileWarehouse.traits, whole=self._template.fixed)

    def prepare(self) -> None:
        """See that files can be written: an empty one appears for a moment. Raises what writing it raises."""
        if self._probes:
            key = self._template.probe(Run("test", _EPOCH))
            self._store.put(key, b"")
            with suppress(Denied):  # who may write need not be one who may delete
                self._store.delete([key])

    def admit(self, plan: Plan, destination: str, shown: Callable[[str], str]) -> None:
        admit(self._options, plan, destination, shown)

    def publish(self, p: Publication) -> Published:
        """Write the files of every table, parents first, then the cursors.

        Raises Fenced for a load older than the one whose file it would replace.
        """
        tables = tuple(self._write(p, t) for t in p.tables)
        if p.state:
            self._state(p.state.name).write(p.source, p.top, p.cursors)
        return Published(tables)

    def _write(self, p: Publication, t: TablePublication) -> LoadedTable:
        if t.rows is None:
            raise Permanent(f"the rows of table '{t.table}' were not handed over")
        run = Run(p.run, p.sync_time, p.sync_id)
        # A later round of a run says nothing of a table that has rows from an earlier one.
        empty = self.traits.whole or (self._empty_files and 1 in {*p.rounds, p.round})
        if self.traits.whole:
            if not t.copied and not t.cells.ok and t.cells.failed:
                return LoadedTable(table=t.table)  # what is there is better than nothing
            self._claim(p, t, run)
        roll = Roll(
            self._store, self._encoding, t.rows.schema,
            lambda n: self._template.key_of(run, p.round, p.source, t.target.name, n),
        )  # fmt: skip
        limits = Limits(self._options.rows_per_file, self._options.bytes_per_file)
        try:
            roll.write(self._batches(t), limits)
            # Before the last file appears: a file that replaces another one does so only if it is whole.
            dropped = t.rows.dropped()
            check_copied(t.table, roll.rows + dropped, t.copied)
            if self.traits.whole:
                self._claim(p, t, run)  # somebody newer may have come while the rows were read
            roll.close(empty=empty)
        except BaseException:
            roll.abort()
            raise
        return LoadedTable(table=t.table, copied=roll.rows, published=roll.rows, dropped=dropped)

    def _claim(self, p: Publication, t: TablePublication, run: Run) -> None:
        key = self._template.key(t.target.name, run)
        claim(self._store, self._template.static, key, t.table, p)

    def _batches(self, t: TablePublication) -> Iterator[pa.RecordBatch]:
        assert t.rows
        if not self._athena:
            return t.rows.batches()
        json = frozenset(c.name for c in t.target.columns if c.type == "json")
        return (cleaned(batch, json) for batch in t.rows.batches())

    def withdraw(
        self, plan: Plan, rounds: Sequence[int], source: str, tables: Sequence[str]
    ) -> None:
        """Remove the files of loads that never got an ok receipt. A file of one name for all stays: it was
        replaced by one that is whole.
        """
        if self.traits.whole:
            return
        run = Run(plan.run, plan.sync_time, plan.sync_id)
        for round_ in rounds:
            for table in tables:
                found = [
                    self._template.key_of(run, round_, source, table, n)
                    for n in range(self._count(run, round_, source, table))
                ]
                # The last first: what is left, if this is cut short, is found by counting again.
                for key in reversed(found):
                    self._store.delete([key])

    def _count(self, run: Run, round_: int, source: str, table: str) -> int:
        """How many files a load has written: they are numbered, and appear in that order."""
        count = 0
        with suppress(NotFound):
            while True:
                self._store.open_read(
                    self._template.key_of(run, round_, source, table, count)
                ).close()
                count += 1
        return count

    def cursors(self, table: str) -> Mapping[str, str]:
        """Raises InputError unless the state table has the same name in every run."""
        return {key: entry.value for key, entry in self._state(table).read().items()}

    def _state(self, table: str) -> State:
        if not self._template.lasting:
            raise InputError(
                f"the cursors of `backend_options` cannot be read back from {self._options.path}: "
                "every run writes files of other names",
                "keep them in a database, or in a destination with `no_rotate: true` and a path without "
                "{{UUID}}, {{SYNC_ID}} and times",
            )
        return State(
            self._store, self._options, self._encoding, table,
            self._template.key(table, Run("", _EPOCH)), self._template.static,
        )  # fmt: skip

    def close(self) -> None:
        self._store.close()
