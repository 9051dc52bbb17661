"""A running plugin that has been told its spec: started, connected and initialised, tried again if it fails to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from contracts.errors import SharderError, Transient
from contracts.observe.log import event
from contracts.plugin.client import Client
from contracts.plugin.plugin import Plugin, Surroundings
from contracts.plugin.program import Program, running
from contracts.plugin.watch import Question, silence
from worker.sources.base import Cancelled, Context

TRIES = 3  # of a program that ends, or does not answer, before it has said anything
PAUSE_S = 1.0


@dataclass(frozen=True)
class Session:
    """A program and the connection to it."""

    program: Program
    client: Client


def surroundings(context: Context) -> Surroundings:
    return Surroundings(
        environment=context.environment,
        masked=context.masked,
        cancelled=context.cancelled,
        memory_bytes=context.memory_bytes,
    )


@contextmanager
def session(
    plugin: Plugin, spec: Mapping[str, Any], context: Context, *, connection: bool = True
) -> Iterator[Session]:
    """Ready to be asked. Raises Cancelled, Permanent for a spec that the plugin refuses, Transient.

    `connection` False: what needs no credentials, as when tables are listed.
    """
    with ExitStack() as stack:
        yield _started(stack, plugin, spec, context, connection=connection)


def _started(
    stack: ExitStack, plugin: Plugin, spec: Mapping[str, Any], context: Context, *, connection: bool
) -> Session:
    for attempt in range(1, TRIES + 1):
        with ExitStack() as own:
            try:
                found = _once(own, plugin, context)
                found.client.init(
                    spec, no_connection=not connection, invocation_id=_invocation(context.run)
                )
            except Transient as error:
                if context.cancelled():
                    raise Cancelled from error
                if attempt == TRIES:
                    raise
                event("plugin_starts_again", plugin=plugin.name, attempt=attempt, error=str(error))
            else:
                stack.push(own.pop_all())
                return found
        context.sleep(PAUSE_S * 2 ** (attempt - 1))
    raise AssertionError  # the last try returned or raised


def _once(own: ExitStack, plugin: Plugin, context: Context) -> Session:
    program = own.enter_context(running(plugin, surroundings(context)))
    client = own.enter_context(Client(program.target, death=program.death, what=program.what))
    client.idle = _idle(client, program, plugin, context)
    client.connect(plugin.settings.start_timeout)
    return Session(program, client)


def _idle(client: Client, program: Program, plugin: Plugin, context: Context) -> Question:
    """Asked while a call waits: whether it still makes sense."""
    silent = silence(
        lambda: client.quiet_s,
        lambda: program.log.last_s,
        plugin.settings.idle_timeout,
        program.what,
    )

    def ask() -> SharderError | None:
        if context.cancelled():
            raise Cancelled
        return silent()

    return ask


def _invocation(run: str) -> str:
    """CloudQuery's is a uuid; the same for all programs of a run."""
    return str(uuid5(NAMESPACE_URL, f"sharder:{run}")) if run else ""
