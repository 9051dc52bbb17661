"""Telling the user: results on stdout, progress on stderr; a live display, plain lines, or JSON lines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol

import orjson

from contracts.plan import Plan
from contracts.summary import Summary
from sharder import text
from sharder.log import logged
from sharder.summary import Tally, Totals
from sharder.wishes import Wishes

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Style = Literal["live", "lines", "json"]

EVERY_S = 5.0  # between two plain lines of progress


class Report(Protocol):
    """Everything a command says."""

    def say(self, text: str) -> None:
        """A sentence about how it goes."""

    def progress(self, plan: Plan, tally: Tally) -> None:
        """Called often; what is shown of it is the report's own affair."""

    def summary(self, summary: Summary) -> None:
        """The answer."""

    def close(self) -> None: ...


def style(*, json: bool, terminal: bool, dumb: bool) -> Style:
    if json:
        return "json"
    return "live" if terminal and not dumb else "lines"


def left_s(totals: Totals, elapsed_s: float) -> float | None:
    """Expected seconds until a source is done; None while there is nothing to go by."""
    done = totals.done_s / totals.expected_s if totals.expected_s else 0.0
    return elapsed_s * (1 - done) / done if done > 0.02 and elapsed_s > 1 else None


def facts(name: str, totals: Totals, elapsed_s: float) -> dict[str, Any]:
    """Progress of one source, with the field names of the summary."""
    left = left_s(totals, elapsed_s)
    return {
        "source": name,
        "cells": totals.cells,
        "ok": totals.ok,
        "failed": totals.failed,
        "skipped": totals.skipped,
        "rows": totals.rows,
        "bytes": totals.bytes,
        "rows_per_s": round(totals.rows / elapsed_s, 1) if elapsed_s > 0 else 0.0,
        "left_s": None if left is None else round(left, 1),
    }


class Lines:
    """For logs and pipes: a line per source every few seconds, and only if something moved."""

    def __init__(
        self, out: IO[str], err: IO[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._out, self._err, self._clock = out, err, clock
        self._began = self._last = clock()
        self._shown: Mapping[str, tuple[int, int]] = {}

    def say(self, text: str) -> None:
        _put(self._err, text)

    def progress(self, plan: Plan, tally: Tally) -> None:
        if self._clock() - self._last < EVERY_S:
            return
        self._last = self._clock()
        sources = tally.sources()
        shown = {name: (t.ended, tally.loads) for name, t in sources.items()}
        elapsed_s = self._last - self._began
        for name, totals in sources.items():
            if shown[name] != self._shown.get(name):
                self.say(self._line(name, totals, elapsed_s))
        if shown != self._shown and tally.loads:
            loads = sum(len(plan.loaded_into(t)) for t in plan.tables)
            self.say(f"loaded {tally.loads:,} of {text.count(loads, 'table')}")
        self._shown = shown

    def _line(self, name: str, totals: Totals, elapsed_s: float) -> str:
        left = left_s(totals, elapsed_s)
        rest = f", about {text.duration(left)} left" if left is not None and left > 0 else ""
        ended = f"{totals.ended:,} of {text.count(totals.cells, 'cell')}"
        bad = f" ({totals.failed:,} failed)" if totals.failed else ""
        rows = f"{text.count(totals.rows, 'row')}, {totals.rows / elapsed_s:,.0f} rows/s"
        return f"{name}: {ended}{bad}, {rows}{rest}"

    def summary(self, summary: Summary) -> None:
        _put(self._out, "\n".join(text.summary(summary)))

    def close(self) -> None:
        """Nothing is held open."""


class Json:
    """The same facts, one JSON object per line, each with its `event`."""

    def __init__(
        self, out: IO[str], err: IO[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._out, self._err, self._clock = out, err, clock
        self._began = clock()
        self._last = self._began - EVERY_S

    def say(self, text: str) -> None:
        _line(self._err, {"event": "note", "text": text})

    def progress(self, plan: Plan, tally: Tally) -> None:
        if self._clock() - self._last < EVERY_S:
            return
        self._last = self._clock()
        for name, totals in tally.sources().items():
            known = {"event": "progress", "run": plan.run, "round": plan.round}
            _line(self._err, known | facts(name, totals, self._last - self._began))

    def summary(self, summary: Summary) -> None:
        _line(self._out, {"event": "summary"} | summary.model_dump(mode="json"))

    def close(self) -> None:
        """Nothing is held open."""


def _line(stream: IO[str], document: Mapping[str, Any]) -> None:
    _put(stream, orjson.dumps(document).decode())


def _put(stream: IO[str], text: str) -> None:
    """Print. If the reader has left (`| head`), the run goes on and its own exit code counts."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        # What is buffered would fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Live:
    """For a terminal: one row per source that is rewritten in place; sentences scroll by above it."""

    def __init__(
        self, out: Console, err: Console, clock: Callable[[], float] = time.monotonic
    ) -> None:
        from rich.live import Live as Display

        self._out, self._err, self._clock = out, err, clock
        self._began = clock()
        self._display = Display(console=err, refresh_per_second=4, transient=True)
        self._started = False

    def say(self, text: str) -> None:
        self._err.print(text, markup=False, highlight=False)

    def progress(self, plan: Plan, tally: Tally) -> None:
        if not self._started:
            self._display.start()
            self._started = True
        self._display.update(self._table(plan, tally))

    def _table(self, plan: Plan, tally: Tally) -> Table:
        from rich.table import Table

        elapsed_s = self._clock() - self._began
        table = Table(box=None, pad_edge=False)
        table.add_column("source")
        for name in ("cells", "ok", "failed", "skipped", "rows", "rows/s", "left"):
            table.add_column(name, justify="right")
        for name, t in tally.sources().items():
            left = left_s(t, elapsed_s)
            speed = t.rows / elapsed_s if elapsed_s else 0.0
            table.add_row(
                name, f"{t.cells:,}", f"{t.ok:,}",
                f"[red]{t.failed:,}[/]" if t.failed else "0", f"{t.skipped:,}",
                f"{t.rows:,}", f"{speed:,.0f}", "" if left is None else text.duration(left),
            )  # fmt: skip
        loads = sum(len(plan.loaded_into(t)) for t in plan.tables)
        table.caption = f"{tally.loads:,} of {text.count(loads, 'table')} loaded"
        table.caption_justify = "left"
        return table

    def summary(self, summary: Summary) -> None:
        self.close()
        *details, answer = text.summary(summary)
        for line in details:
            self._out.print(line, markup=False, highlight=False, soft_wrap=True)
        style_ = "" if summary.exit_code == 0 else "bold red"
        self._out.print(answer, markup=False, highlight=False, style=style_, soft_wrap=True)

    def close(self) -> None:
        if self._started:
            self._display.stop()
            self._started = False


@contextmanager
def opened(*, json: bool, environment: Mapping[str, str]) -> Iterator[Report]:
    """The report that suits where we write. rich itself honours NO_COLOR."""
    chosen = style(
        json=json, terminal=sys.stderr.isatty(), dumb=environment.get("TERM", "") in {"", "dumb"}
    )
    report: Report
    if chosen == "live":
        from rich.console import Console

        report = Live(Console(), Console(stderr=True))
    else:
        report = (Json if chosen == "json" else Lines)(sys.stdout, sys.stderr)
    try:
        with logged(report, Wishes().over(environment)) as told:
            yield told
    finally:
        report.close()
