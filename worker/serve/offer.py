"""A source of ours under the name by which it is served: options, tables, whether it can be reached."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel

from contracts import table as cq
from contracts.errors import InputError
from contracts.selection import kept, matcher
from contracts.specfile import nearest
from contracts.specfile.validate import Path, fold, validate
from contracts.table import Table, trees, with_cq_columns
from contracts.veil import SHORT, VEIL
from worker.limits.machine import LocalPermits
from worker.limits.pace import Paced
from worker.sources import registry
from worker.sources.base import Context, Source

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_OF_THE_CLI = frozenset({cq.SYNC_TIME, cq.SOURCE_NAME})


class Offer:
    """One source at a time: `opened` replaces the one before. Its methods are called under a lock."""

    def __init__(self, plugin: str) -> None:
        """Raises InputError if there is no such source."""
        self.plugin = plugin
        self.options: type[BaseModel] = registry.options(plugin)
        self.lock = threading.Lock()
        self._source: Source | None = None
        self._cancelled: Callable[[], bool] = _never

    @property
    def name(self) -> str:
        """`aws`; of `acme.shop:Shop` it is `shop`, as of `acme.shop:open`."""
        module, _, factory = self.plugin.partition(":")
        return (module.rpartition(".")[2] if factory in {"", "open"} else factory).lower()

    @property
    def version(self) -> str:
        return f"v{version('sharder')}"

    def spec_schema(self) -> str:
        """JSON Schema of the nested spec."""
        return json.dumps({"$schema": DRAFT, **self.options.model_json_schema()})

    def init(self, spec: bytes) -> None:
        """Open the source with options as JSON. Raises InputError, and what opening it raises."""
        made = self._make(spec)
        self.close()
        self._source = made

    def test(self, spec: bytes) -> str:
        """Who answered. Raises SharderError with what does not."""
        source = self._make(spec)
        try:
            if hasattr(source, "test"):
                return str(source.test())
            return f"{len(source.tables())} tables"
        finally:
            source.close()

    @property
    def source(self) -> Source:
        """Raises InputError before `init`."""
        if self._source is None:
            raise InputError(f"the source '{self.name}' has no spec yet", "call Init first")
        return self._source

    @contextmanager
    def until(self, question: Callable[[], bool]) -> Iterator[None]:
        """What the source asks in long loops within the block: whether it should stop."""
        self._cancelled = question
        try:
            yield
        finally:
            self._cancelled = _never

    def trees(
        self, tables: Sequence[str], skip: Sequence[str], *, skip_children: bool
    ) -> tuple[tuple[Table, ...], ...]:
        """The selected trees, as rows are sent: `_cq_*` columns without those that the CLI adds.

        Raises InputError for a pattern that matches nothing. No pattern at all selects nothing.
        """
        found = self.source.tables()
        names = [t.name for t in found]
        chosen, skipped = self._matched(tables, names), self._matched(skip, names)
        cut = (
            kept(t, chosen, skipped, children_too=not skip_children) for t in trees(found).values()
        )
        return tuple(tuple(declared(t) for t in tree) for tree in cut if tree)

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    def _is_cancelled(self) -> bool:
        return self._cancelled()

    def _make(self, spec: bytes) -> Source:
        given = read_spec(spec)
        options = validate(self.options, given, _Places(), (), f"source '{self.name}'")
        VEIL.remember({text: name for name, text in secrets(options) if len(text) > SHORT})
        context = Context(
            name=self.name,
            now=lambda: datetime.now(UTC),
            sleep=time.sleep,
            cancelled=self._is_cancelled,
            deterministic_cq_id=True,
            pace=Paced(LocalPermits(), self.name, sleep=time.sleep, cancelled=self._is_cancelled),
        )
        return registry.open_source(self.plugin, fold(self.options, given), context)

    def _matched(self, patterns: Sequence[str], names: Sequence[str]) -> frozenset[str]:
        found: set[str] = set()
        for pattern in patterns:
            matched = set(filter(matcher(pattern), names))
            if not matched:
                near = nearest(pattern.replace("*", ""), names)
                raise InputError(
                    f"the source '{self.name}' has no table that matches '{pattern}'",
                    f"did you mean '{near}'?"
                    if near
                    else f"it has {len(names):,}: {', '.join(names[:5])}",
                )
            found |= matched
        return frozenset(found)


class _Places:
    """Says of a wrong option which it is: the file is the CLI's, and we have only its content."""

    def error(self, message: str, hint: str, path: Path, *, key: bool = False) -> InputError:
        del path, key
        return InputError(message, hint)


def _never() -> bool:
    return False


def declared(table: Table) -> Table:
    """The table with the columns of a plugin: `_cq_id`, `_cq_parent_id`, `_cq_client_id` and its own."""
    whole = with_cq_columns(table)
    return replace(whole, columns=tuple(c for c in whole.columns if c.name not in _OF_THE_CLI))


def read_spec(spec: bytes) -> Mapping[str, Any]:
    """The nested spec; empty for nothing and for null. Raises InputError."""
    try:
        given = json.loads(spec or b"{}")
    except ValueError as error:
        raise InputError(f"the spec is no JSON: {error}") from error
    if not isinstance(given, dict | None):
        raise InputError(f"the spec is a {type(given).__name__} and no mapping")
    return given or {}


def secrets(options: Any) -> Iterator[tuple[str, str]]:
    """(name, value) of every text in a field that is marked secret, at any depth."""
    match options:
        case BaseModel():
            for name, field in type(options).model_fields.items():
                value, extra = getattr(options, name), field.json_schema_extra
                if isinstance(extra, dict) and extra.get("secret"):
                    yield from ((name, text) for text in _texts(value))
                else:
                    yield from secrets(value)
        case dict():
            for value in options.values():
                yield from secrets(value)
        case list() | tuple():
            for value in options:
                yield from secrets(value)
        case _:
            return


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from _texts(inner)
        case list() | tuple():
            for inner in value:
                yield from _texts(inner)
        case _:
            return
