"""A Warehouse behind CloudQuery's plugin protocol. Nothing lands: `publish` sends the rows, then says which are stale.

The protocol has no transaction. A load is one write with every table and all of its rows; stale rows and
cursors follow in writes of their own, each only after the plugin has said that the one before is in. So a
load that dies is sent again, and what merges by key ends the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from contracts.errors import Denied, InputError, Permanent, SharderError, Transient
from contracts.plan import Plan
from contracts.plugin.messages import WriteAnswer, WriteMessage
from contracts.receipt import LoadedTable
from contracts.spec import Destination
from contracts.table import Table
from loader import ours
from loader.programs import Running, Wanted
from loader.publication import Publication, Published
from loader.warehouses.base import Rows
from loader.warehouses.plugin import state, stream
from loader.warehouses.plugin.dialect import DIALECT
from loader.warehouses.plugin.options import Options, traits
from loader.warehouses.plugin.stale import deletable, kept
from loader.warehouses.plugin.stream import Stream
from loader.warehouses.sink import Sink

if TYPE_CHECKING:
    from contracts.plugin.client import Client
    from contracts.plugin.tally import Logged

Messages = Callable[[Stream], Iterator[WriteMessage]]


def open_(destination: Destination, options: BaseModel, program: Wanted) -> PluginWarehouse:
    """Nothing is started before `prepare`."""
    assert isinstance(options, Options)
    return PluginWarehouse(destination, options.root, program)


class PluginWarehouse(Sink):
    """One program, initialised with the options of the destination's document."""

    dialect = DIALECT

    def __init__(
        self, destination: Destination, options: Mapping[str, Any], program: Wanted
    ) -> None:
        self.traits = traits(destination)
        self._destination = destination
        self._options = options
        self._running = Running(program, self._begin)
        self._flushes = False

    @property
    def _force(self) -> bool:
        return self._destination.migrate_mode == "forced"

    def prepare(self) -> None:
        """Start the plugin, have it test its connection and take its options."""
        with self._running.call():
            return

    def _begin(self, client: Client) -> None:
        client.test(self._options)
        self._flushes = client.init(self._options)

    def migrate(self, tables: Sequence[Table]) -> None:
        """Have the plugin make or alter tables, parents first, as it does before the rows of a load."""
        self._write(lambda _: stream.of_tables(tables, force=self._force))

    def publish(self, p: Publication) -> Published:
        """Rows, then what is stale, then cursors.

        Raises Permanent with the plugin's own words if it could not write; nothing is claimed then.
        """
        sent = self._write(partial(stream.of_load, p=p, force=self._force, flushes=self._flushes))
        p.confirm()
        if stale := [t for t in p.tables if deletable(t.stale)]:
            self._write(lambda _: stream.of_stale(p, stale, flushes=self._flushes))
        if p.state:
            self._set(p.state.name, p.cursors)
        return Published(
            tuple(_loaded(t.table, *sent.rows[t.table]) for t in p.tables),
            warnings=tuple(w for t in p.tables if (w := kept(t))),
        )

    def cursors(self, table: str) -> Mapping[str, str]:
        """The table is made if it is missing, as CloudQuery does it. Raises InputError if it cannot be read."""
        return {key: entry.value for key, entry in self._state(table).items()}

    def _state(self, table: str) -> dict[str, state.Entry]:
        self._write(lambda _: stream.of_tables([ours.state(table)], force=False))
        try:
            with self._running.call() as (client, watch):
                return state.read(_counted(client.read(ours.state(table)), watch.moved))
        except SharderError as error:
            if isinstance(error, Denied) or not (_in_words(error) or isinstance(error, Permanent)):
                raise
            # Most plugins without Read say so with the code of any other failure.
            raise InputError(
                f"the cursors of `backend_options` cannot be kept in destination '{self._destination.name}': its "
                f"plugin {self._destination.path} cannot read table '{table}' back: {error.message}",
                "let `connection` name another destination, for example a cloudquery/duckdb for the state alone",
            ) from error

    def _set(self, table: str, cursors: Mapping[str, str]) -> None:
        changed = state.changed(self._state(table), cursors)
        if not changed:
            return
        batch = state.batch(table, changed)
        rows = Rows(batch.schema, lambda: iter((batch,)))
        self._write(lambda _: stream.of_rows(ours.state(table), rows, flushes=self._flushes))

    def _write(self, make: Messages) -> Stream:
        """One write, to its end. Raises for whatever the plugin could not do."""
        before = dict(self._running.log().failed())
        sent = Stream(make)
        try:
            with self._running.call() as (client, watch):
                sent.moved = watch.moved
                answer = client.write(sent)
        except Transient as error:
            raise self._final(error, begun=sent.begun) from error
        self._check(answer, sent)
        self._check_logged(before)
        return sent

    def _check(self, answer: WriteAnswer, sent: Stream) -> None:
        """Raises Permanent if the plugin says that something is not in."""
        what = self._running.wanted.what
        if answer.flush_error or answer.failed_tables:
            tables = ", ".join(answer.failed_tables)
            said = answer.flush_error or "it did not say why"
            raise Permanent(
                f"{what} could not write {f'table {tables}' if tables else 'everything'}: {said}"
            )
        if sent.flush and answer.flush_id != sent.flush:
            raise Permanent(f"{what} did not say that everything it took is safe (flush)")

    def _check_logged(self, before: Mapping[str, Logged]) -> None:
        """Raises Permanent for errors that the plugin has only logged since `before`, unless they are warnings."""
        if self._running.wanted.settings.logged_errors == "warn":
            return
        found = [
            (said.message, said.count - (before[table].count if table in before else 0))
            for table, said in self._running.log().failed().items()
        ]
        new = [(message, count) for message, count in found if count]
        if new:
            raise Permanent(
                f"{self._running.wanted.what} logged errors while it wrote ({sum(n for _, n in new)}), "
                f"such as: {new[0][0]}",
                "some plugins leave rows out and say so nowhere else; if these errors mean nothing: "
                f"kind: fleet, plugins: {{{self._destination.name}: {{logged_errors: warn}}}}",
            )

    def _final(self, error: Transient, *, begun: bool) -> SharderError:
        """What another try would double, or most likely meet again, is not tried again by itself."""
        appends = self.traits.guarantee == "at-least-once"
        if not begun or not (appends or _in_words(error)):
            return error
        left = (
            "; rows that it had taken stay, and another load sends all of them again"
            if appends
            else ""
        )
        return Permanent(f"{error.message}{left}", error.hint)

    def admit(self, plan: Plan, destination: str, shown: Callable[[str], str]) -> None:
        """Nothing: sources may share a table, keys and `_cq_source_name` tell their rows apart."""
        del plan, destination, shown

    def withdraw(
        self, plan: Plan, rounds: Sequence[int], source: str, tables: Sequence[str]
    ) -> None:
        """Nothing: rows of one round cannot be told from those of another by what the protocol can ask."""
        del plan, rounds, source, tables

    def close(self) -> None:
        """The program ends with it."""
        try:
            self._running.finish()
        finally:
            self._running.close()


def _in_words(error: BaseException) -> bool:
    """Whether the plugin itself says why it failed, rather than ending or falling silent."""
    return type(error) is Transient


def _loaded(table: str, sent: int, dropped: int) -> LoadedTable:
    return LoadedTable(table=table, copied=sent, published=sent, dropped=dropped)


def _counted(batches: Iterator[Any], moved: Callable[[], None]) -> Iterator[Any]:
    for batch in batches:
        moved()
        yield batch
