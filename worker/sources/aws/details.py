"""The further calls of listed rows: a describe per item, joined structures, columns of their own.

All of them run in the pool, many at once; rows come back in their order. A thing that is gone between
the list and its describe leaves no row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, wait
from itertools import groupby
from typing import Any, TypeVar

from worker.sources.aws.calls import Caller, Output, Place
from worker.sources.aws.locked import Added, Call, LockedTable
from worker.sources.aws.outcomes import CallErrors, is_absent
from worker.sources.aws.values import TRANSFORMS, below, getter

Row = dict[str, Any]
T = TypeVar("T")


class Failed(Exception):
    """A call that failed: the error, where, and what was asked."""

    def __init__(self, error: Exception, place: Place, call: str) -> None:
        super().__init__(str(error))
        self.error = error
        self.place = place
        self.call = call


class Details:
    """Completes rows of one table at one place."""

    def __init__(
        self, table: LockedTable, wanted: frozenset[str], caller: Caller, pool: Executor
    ) -> None:
        self._table = table
        self._caller = caller
        self._pool = pool
        self._region = getter(table.at) if table.at else None
        added = [a for a in table.added if a.column in wanted or table.at == f"+{a.column}"]
        # The column that says which region to call is found before the others are asked for.
        first = [a for a in added if table.at == f"+{a.column}"]
        self._waves = [w for w in (first, [a for a in added if a not in first]) if w]

    def completed(self, rows: list[Row], place: Place) -> list[Row]:
        """Raises Failed if a call failed in a way that the table does not declare."""
        if self._table.each is not None:
            rows = self._replaced(self._table.each, rows, place)
        if self._table.merge is not None:
            self._join(self._table.merge, rows, place)
        for wave in self._waves:
            self._add(wave, rows, place)
        return rows

    def _replaced(self, call: Call, rows: list[Row], place: Place) -> list[Row]:
        """Each row by what a describe says of it."""
        groups = list(self._groups(call, rows))
        outputs = self._all([self._job(call, group, place) for group in groups])
        found: list[Row] = []
        for group, output in zip(groups, outputs, strict=True):
            if output is None:
                found += self._one_by_one(call, group, place)
            else:
                found += _taken(call, group, output)
        return found

    def _one_by_one(self, call: Call, group: list[Row], place: Place) -> list[Row]:
        """A batch in which something is gone, again without the others; a single that is gone is no row."""
        if len(group) == 1:
            return []
        outputs = self._all([self._job(call, [row], place) for row in group])
        pairs = zip(group, outputs, strict=True)
        return [r for row, out in pairs if out is not None for r in _taken(call, [row], out)]

    def _join(self, call: Call, rows: list[Row], place: Place) -> None:
        for row, found in self._answers(call, rows, place):
            row |= {f"{self._table.prefix}{k}": v for k, v in (found or {}).items()}

    def _add(self, wave: Sequence[Added], rows: list[Row], place: Place) -> None:
        """All columns of a wave for all rows, at once."""
        columns = [(a, list(self._groups(a.call, rows))) for a in wave]
        jobs = [self._job(a.call, group, place) for a, groups in columns for group in groups]
        outputs = iter(self._all(jobs))
        for added, groups in columns:
            pairs = [(group, next(outputs)) for group in groups]
            change = _transform(added.call)
            for row, found in self._matched(added.call, pairs, place):
                row[f"+{added.column}"] = change(found)

    def _answers(self, call: Call, rows: list[Row], place: Place) -> Iterable[tuple[Row, Any]]:
        groups = list(self._groups(call, rows))
        outputs = self._all([self._job(call, group, place) for group in groups])
        return self._matched(call, list(zip(groups, outputs, strict=True)), place)

    def _matched(
        self, call: Call, pairs: Sequence[tuple[list[Row], Output | None]], place: Place
    ) -> Iterable[tuple[Row, Any]]:
        """(row, what the answer says of it); None if it is absent."""
        for group, output in pairs:
            if output is None and len(group) > 1:
                outputs = self._all([self._job(call, [row], place) for row in group])
                singles = [([row], out) for row, out in zip(group, outputs, strict=True)]
                yield from self._matched(call, singles, place)
            elif call.shape == "keyed":
                elements = {e[call.key]: e for e in below(output or {}, call.path)}
                source = getter(call.args[call.batch])
                yield from ((r, below(elements.get(source(r)), call.rest)) for r in group)
            else:
                yield group[0], None if output is None else below(output, call.path)

    def _groups(self, call: Call, rows: list[Row]) -> Iterable[list[Row]]:
        """Rows that one call answers: singles, or batches of rows with the same parent and region."""
        if not call.batch:
            yield from ([row] for row in rows)
            return
        for _, same in groupby(rows, key=lambda r: (carried(r), self._region_of(r))):
            group = list(same)
            yield from (group[n : n + call.size] for n in range(0, len(group), call.size))

    def _region_of(self, row: Row) -> str | None:
        region: str | None = self._region(row) if self._region is not None else None
        return region

    def _job(self, call: Call, group: list[Row], place: Place) -> Callable[[], Output | None]:
        """The call for a group of rows; None as its result if what was asked for is absent."""
        inputs = _inputs(call, group)
        if region := self._region_of(group[0]):
            place = Place(place.account, region)
        service = self._table.service

        def run() -> Output | None:
            try:
                return self._caller.whole(place, service, call, inputs)
            except CallErrors as error:
                if is_absent(error, call.absent, usual=True):
                    return None
                raise Failed(error, place, f"{service}.{call.op}") from error

        return run

    def _all(self, jobs: Sequence[Callable[[], T]]) -> list[T]:
        """Results in order. The first failure ends the others that have not begun."""
        futures = [self._pool.submit(job) for job in jobs]
        try:
            return [f.result() for f in futures]
        finally:
            for future in futures:
                future.cancel()
            wait(futures)


def carried(row: Mapping[str, Any]) -> Row:
    """What of a row does not come from its own call: the parent's columns and whom we asked."""
    return {k: v for k, v in row.items() if k[0] in "^@"}


def _inputs(call: Call, group: list[Row]) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    for name, source in call.args.items():
        get = getter(source)
        inputs[name] = [get(r) for r in group] if name == call.batch else get(group[0])
    return inputs


def _taken(call: Call, group: list[Row], output: Output) -> list[Row]:
    """The rows that a describe gives for a group."""
    found: Any = output if call.shape == "whole" else below(output, call.path)
    items: list[Row] = found if call.shape == "many" else [found or {}]
    about = carried(group[0])
    if call.batch:
        return [{**item, **about} for item in items]
    listed = group[0].get(".")
    return [{**item, **about, ".": listed} for item in items]


def _transform(call: Call) -> Callable[[Any], Any]:
    name, _, argument = call.transform.partition(" ")
    if not name:
        return lambda value: value
    change = TRANSFORMS[name]
    if name == "bucket_region":  # S3 says us-east-1 by saying nothing
        return lambda value: change(value, argument)
    return lambda value: None if value is None else change(value, argument)
