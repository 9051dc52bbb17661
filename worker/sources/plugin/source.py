"""The Source over a plugin: its tables, its clients, and a process for each client that is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

from contracts.errors import NotFound, Permanent, SharderError
from contracts.plugin.messages import Backend, SyncRequest
from contracts.plugin.plugin import Plugin
from contracts.plugin.process import private
from contracts.plugin.state import StateServer
from contracts.table import CLIENT_ID, Table
from worker.sources.base import Clients, Context, Event, Work
from worker.sources.plugin import keys
from worker.sources.plugin.accounts import Split, Whole, look
from worker.sources.plugin.ends import ends
from worker.sources.plugin.reading import Reading
from worker.sources.plugin.session import Session, session


class PluginSource:
    """One source document. Programs run only while something is asked of them."""

    def __init__(self, plugin: Plugin, spec: Mapping[str, Any], context: Context) -> None:
        self._plugin, self._spec, self._context = plugin, spec, context
        found = look(plugin.path, spec, plugin.settings.clients)
        self._split = found if isinstance(found, Split) else None
        self._why_whole = found.why if isinstance(found, Whole) else ""
        self._listed: tuple[Table, ...] | None = None

    def tables(self) -> Sequence[Table]:
        """What GetTables says; asked once, without a connection where the plugin can do without."""
        if self._listed is None:
            found = self._list(connection=False) or self._list(connection=True)
            self._listed = tuple(
                # A plugin may send more than it said, and names clients in a way of its own.
                replace(t, evolves=True, own_client_ids=CLIENT_ID in t)
                for t in found
            )
        if not self._listed:
            raise Permanent(f"the plugin of '{self._plugin.name}' has no tables")
        return self._listed

    def _list(self, *, connection: bool) -> tuple[Table, ...]:
        try:
            with self._session(self._spec, connection=connection) as running:
                return running.client.tables()
        except Permanent:
            if connection:
                raise
            return ()  # some plugins learn their tables from what they connect to

    def clients(self, table: Table) -> Clients:
        del table
        if self._split is None:
            return Clients("plugin", (self._plugin.name,))
        return Clients("plugin", self._split.clients)

    def notes(self) -> Iterator[str]:
        """What a run of it means that its document does not show."""
        name = self._plugin.name
        if self._why_whole:
            yield (
                f"source '{name}' is one client, read by one program at a time: {self._why_whole} "
                f"(`plugins.{name}.clients` of `kind: fleet` says where they are)"
            )
        if self._context.rate_per_s:
            yield f"`sources.{name}.rate_limit` does nothing: the plugin paces its calls by itself"

    def groups(self, found: Sequence[Sequence[Table]]) -> Sequence[Sequence[str]]:
        """Trees may share a process, but a state is committed with one table: it has its own."""
        together: list[str] = []
        alone: list[list[str]] = []
        for tree in found:
            if self._keeps_state(tree):
                alone.append([tree[0].name])
            else:
                together.append(tree[0].name)
        return [*alone, together] if together else alone

    def _keeps_state(self, tree: Sequence[Table]) -> bool:
        return bool(self._context.state_table) and any(t.incremental for t in tree)

    def read(self, work: Work, cursors: Mapping[str, str]) -> Iterator[Event]:
        """A process per client, one after the other: one that dies takes no other client with it."""
        for client in work.clients:
            yield from self._read(work, client, cursors)

    def _read(self, work: Work, client: str, cursors: Mapping[str, str]) -> Iterator[Event]:
        is_split = self._split is not None
        reading = Reading(work, client, partial(keys.ours, client=client, split=is_split))
        written: Mapping[str, str] = {}
        try:
            with ExitStack() as stack:
                running = stack.enter_context(self._session(self._spec_for(client)))
                reading.listen(running.program)
                known = keys.theirs(cursors, client, split=is_split)
                state = self._state(stack, work, known, running)
                for message in running.client.sync(self._request(work, state)):
                    yield from reading.take(message)
                running.client.finish()
                written = state.written() if state else {}
        except SharderError as error:
            reading.broken = error
        # The program has ended by now, so that every line of its log was read.
        trouble = reading.trouble(self._plugin.settings.logged_errors)
        yield from ends(work.tree, work.selected, client, trouble, reading.state(written))

    def _state(
        self, stack: ExitStack, work: Work, known: Mapping[str, str], running: Session
    ) -> StateServer | None:
        """Where the plugin finds its state; on TCP if it does not share our files."""
        if not self._keeps_state(work.tree):
            return None
        shares = self._plugin.registry not in {"docker", "grpc"}
        directory = stack.enter_context(private()) if shares else None
        alias = running.program.host_alias
        return stack.enter_context(StateServer(known, directory=directory, alias=alias))

    def _request(self, work: Work, state: StateServer | None) -> SyncRequest:
        """Exactly the selected tables: they are named one by one, and none brings others along."""
        slice_, table = work.slice, self._context.state_table
        return SyncRequest(
            tables=tuple(t.name for t in work.tree if t.name in work.selected),
            skip_dependent_tables=True,
            deterministic_cq_id=self._context.deterministic_cq_id,
            backend=Backend(table, state.connection) if state else None,
            shard=(slice_["num"], slice_["total"]) if slice_ else None,
        )

    def _spec_for(self, client: str) -> Mapping[str, Any]:
        if self._split is None:
            return self._spec
        try:
            return self._split.spec_for(client)
        except KeyError as error:
            raise NotFound(
                f"the options of source '{self._plugin.name}' have no client '{client}' any more",
                "has a variable of the spec another value on this worker?",
            ) from error

    def _session(
        self, spec: Mapping[str, Any], *, connection: bool = True
    ) -> AbstractContextManager[Session]:
        return session(self._plugin, spec, self._context, connection=connection)

    def split(self, table: Table, client: str, n: int) -> Sequence[Mapping[str, Any]]:
        """The protocol's own shards, where the plugin is declared to keep to them. A state has but one."""
        del client
        total = (
            1
            if self._context.state_table and table.incremental
            else min(self._plugin.settings.shards, n)
        )
        return [{"num": i, "total": total} for i in range(1, total + 1)] if total > 1 else ()

    def test(self) -> str:
        with self._session(self._spec, connection=False) as running:
            running.client.test(self._spec)
            return f"{running.client.name()} {running.client.version()}"

    def close(self) -> None:
        """Nothing stays open between two questions."""
