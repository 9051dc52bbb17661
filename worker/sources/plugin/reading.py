"""One Sync as it comes in: messages of a plugin → events of the Source protocol, and what went wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, assert_never

from contracts.errors import Permanent, SharderError
from contracts.observe.log import event
from contracts.plugin.messages import (
    Deleted,
    Inserted,
    Message,
    Migrate,
    Saved,
    TableFailed,
)
from contracts.plugin.program import Program
from contracts.plugin.tally import Logged
from worker.sources import base
from worker.sources.base import Checkpoint, Event, Rows, Work
from worker.sources.plugin.ends import Trouble

Kept = Callable[
    [Mapping[str, str]], Mapping[str, str]
]  # a state as the plugin has it → as we keep it


class Reading:
    """What one program said for one client. `broken`: the error that ended its stream."""

    def __init__(self, work: Work, client: str, kept: Kept) -> None:
        self._work, self._client, self._kept = work, client, kept
        self._known = frozenset(t.name for t in work.tree)
        self._failed: dict[str, str] = {}
        self._program: Program | None = None
        self._saved: dict[str, str] = {}
        self.broken: SharderError | None = None

    def listen(self, program: Program) -> None:
        """To the program that is read from now on."""
        self._program = program

    def take(self, message: Message) -> Iterator[Event]:
        """Raises Permanent for rows of a table that the plugin did not name when it was asked."""
        match message:
            case Inserted():
                self._check(message.table)
                yield Rows(message.table, self._client, message.batch)
            case Migrate():
                return  # the plan has the schema; a batch that differs is dealt with when it comes
            case TableFailed():
                self._failed.setdefault(message.table, message.error)
                event(
                    "table_failed",
                    logging.ERROR,
                    table=message.table,
                    client=self._client,
                    error=message.error,
                )
            case Saved():
                self._saved |= self._kept(message.cursor)
                yield from self._checkpoints()
            case Deleted():
                self._check(message.table)
                yield self._gone(message)
            case _:
                assert_never(message)

    def _gone(self, message: Deleted) -> Event:
        """Raises Permanent where no row is named: that would empty the table."""
        where = message.alternatives()
        if not all(where):
            raise Permanent(
                f"the plugin asks to delete from the table '{message.table}' without saying which rows"
            )
        relations = tuple((r.table, r.parent) for r in message.relations)
        return base.Deleted(message.table, self._client, where, relations)

    def _check(self, table: str) -> None:
        if table not in self._known:
            raise Permanent(
                f"the plugin sent rows of the table '{table}', which is not among those that it was asked for"
            )

    def _checkpoints(self) -> Iterator[Event]:
        """A state covers the rows of every table so far, unless something failed before it."""
        if self._program:
            self._program.catch_up()
        if self._failed or self._logged():
            return
        for table in self._work.tree:
            if table.name in self._work.selected:
                cursor = self._saved if table.incremental else {}
                yield Checkpoint(table.name, self._client, dict(cursor))

    def state(self, written: Mapping[str, str]) -> Mapping[str, str]:
        """The state at the end: what came along with the rows, and what was written to the backend."""
        return {**self._saved, **self._kept(written)}

    def _logged(self) -> Mapping[str, Logged]:
        return self._program.log.failed() if self._program else {}

    def trouble(self, logged_errors: Literal["fail", "warn"]) -> Trouble:
        """After the program has ended, so that every line of its log was read."""
        tables, common = dict(self._failed), ""
        for name, found in self._logged().items() if logged_errors == "fail" else ():
            more = f" (and {found.count - 1:,} more)" if found.count > 1 else ""
            text = f"the plugin logged an error: {found.message}{more}"
            if name in self._known:
                tables.setdefault(name, text)
            else:
                common = common or text
        return Trouble(tables, common, self.broken)
