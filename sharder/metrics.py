"""`--tables-metrics-location`: how far each table is, in a file that is rewritten while the run goes on.

A Report around another one: the terminal tells the sources, the file the tables. It is replaced as a
whole, so that `watch cat FILE` never sees half of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from contracts.errors import InputError
from contracts.plan import Plan
from contracts.specfile import LoadedSpec
from contracts.summary import Summary
from sharder import text
from sharder.report import Report
from sharder.summary import Tally
from sharder.summary_file import reason

EVERY_S = 20.0
HEAD = ("table", "duration", "resources", "errors", "panics")


def around(report: Report, location: str, loaded: LoadedSpec) -> Report:
    """The report, which also keeps the file if one is asked for.

    Raises InputError for a file that cannot be written, or beside a source's `otel_endpoint`.
    """
    if not location:
        return report
    for source in loaded.spec.sources:
        if source.otel_endpoint:
            raise loaded.document("source", source.name).error(
                f"source '{source.name}' sends its metrics to an otel_endpoint, and "
                "--tables-metrics-location asks for them in a file",
                "leave out one of the two",
                ("spec", "otel_endpoint"),
            )
    return Metrics(report, Path(location))


class Metrics:
    """Raises InputError if the file cannot be written when the run starts; later that is a warning."""

    def __init__(
        self, inner: Report, path: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._inner, self._path, self._clock = inner, path, clock
        self._written: float | None = None
        self._shown: tuple[Plan, Tally] | None = None
        self._failed = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._replace(ascii_table([HEAD]))
        except OSError as error:
            raise InputError(
                f"--tables-metrics-location {path}: {reason(error)}",
                "name a file in a folder that this user may write to",
            ) from error

    def say(self, text: str) -> None:
        self._inner.say(text)

    def progress(self, plan: Plan, tally: Tally) -> None:
        self._inner.progress(plan, tally)
        self._shown = (plan, tally)
        if self._written is None or self._clock() - self._written >= EVERY_S:
            self._write()

    def summary(self, summary: Summary) -> None:
        self._write()
        self._inner.summary(summary)

    def close(self) -> None:
        self._inner.close()

    def _write(self) -> None:
        if not self._shown:
            return
        self._written = self._clock()
        try:
            self._replace(ascii_table([HEAD, *rows(*self._shown)]))
        except OSError as error:
            if not self._failed:
                self._inner.say(f"warning: {self._path} was not written: {reason(error)}")
            self._failed = True

    def _replace(self, content: str) -> None:
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        beside.write_text(content)
        beside.replace(self._path)


def rows(plan: Plan, tally: Tally) -> Iterator[tuple[str, ...]]:
    """One row per table: those that are being read first, then those that wait, then those that ended.

    A duration is what workers have spent on a table with its descendants, which are read together.
    Nothing of ours panics: what comes closest is a cell of which every attempt died.
    """
    several = len(plan.sources) > 1
    order = sorted(
        tally.tables.items(),
        key=lambda item: (
            0 if 0 < item[1].ended < item[1].cells else 1 if item[1].cells > item[1].ended else 2,
            -item[1].seconds,
            item[0],
        ),
    )
    for (source, top), totals in order:
        for name, member in tally.members[source, top].items():
            yield (
                f"{source}.{name}" if several else name,
                text.duration(totals.seconds) if name == top else "",
                f"{member.rows}",
                f"{member.failed - member.lost}",
                f"{member.lost}",
            )


def ascii_table(lines: Sequence[Sequence[str]]) -> str:
    """The first line is the head; names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = "+" + "+".join("-" * (w + 2) for w in widths) + "+"
    head, *body = (
        "| " + " | ".join(
            cell.ljust(w) if n == 0 else cell.rjust(w) for n, (cell, w) in enumerate(zip(line, widths, strict=True))
        ) + " |"
        for line in lines
    )  # fmt: skip
    return "\n".join([rule, head.upper(), rule, *body, *([rule] if body else []), ""])
