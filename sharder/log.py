"""The log of a command, as CloudQuery's flags ask for it: a file, stderr, or none (the default).

CloudQuery appends to `cloudquery.log` in the working directory unless told otherwise; we write no file
that nobody asked for. What is logged: every sentence, progress, the summary, errors, and what the
child processes of an embedded run log, each line with its run and job.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO

import orjson

from contracts.errors import InputError
from contracts.settings import Settings
from contracts.veil import VEIL
from sharder.summary import Tally

if TYPE_CHECKING:
    from contracts.plan import Plan
    from contracts.summary import Summary
    from sharder.report import Report

EVERY_S = 5.0  # between two lines of progress

# As `sharder.child` writes them: time, level, message.
_CHILD = re.compile(r"\S+ \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR|CRITICAL) (.*)", re.DOTALL)
_NUMBERS = frozenset({"rows", "bytes", "parts", "seconds", "ok", "failed", "skipped", "round"})
_FIELD = re.compile(r'(?:^| )([a-z_]+)=("(?:[^"\\]|\\.)*"|\S*)')


def utc_now() -> datetime:
    return datetime.now(UTC)


class Log:
    """Lines of text or JSON, from a level on."""

    def __init__(
        self,
        streams: Sequence[IO[str]],
        form: str,
        level: str,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._streams, self._json, self._now = streams, form == "json", now
        self._least = logging.getLevelNamesMapping()[level.upper()]

    def write(self, level: int, message: str, fields: Mapping[str, Any]) -> None:
        """One line; `message` may be empty where the fields say all."""
        if level < self._least:
            return
        at, name = self._now(), logging.getLevelName(level)
        if self._json:
            facts = {"time": at.isoformat(), "level": name.lower(), **fields}
            line = orjson.dumps(facts | ({"message": message} if message else {})).decode()
        else:
            told = [message.replace("\n", "\\n")] if message else []
            told += [f"{key}={_plain(value)}" for key, value in fields.items()]
            line = f"{at:%Y-%m-%dT%H:%M:%S.%fZ} {name} {' '.join(told)}"
        line = VEIL(line)  # the error that ends a command may be a library's, in its own words
        for stream in self._streams:
            print(line, file=stream, flush=True)


def _plain(value: object) -> str:
    """Bare where that is unambiguous, else as JSON, so that a line stays one line."""
    text = str(value)
    return text if text and not set(text) & set(' "=\n\r\t') else orjson.dumps(text).decode()


def parsed(line: str) -> tuple[int, str, dict[str, str | float]] | None:
    """Level, message and fields of a line that a child process logged; None if it is none."""
    found = _CHILD.fullmatch(line)
    if not found:
        return None
    fields = {key: _read(key, value) for key, value in _FIELD.findall(found[2])}
    message = _FIELD.sub("", found[2]).strip()
    return logging.getLevelNamesMapping()[found[1]], message, fields


def _read(key: str, value: str) -> str | float:
    """The inverse of `_plain`; what was cut by a mask stays as it is. Ids that look like numbers are none."""
    try:
        if key in _NUMBERS:
            return float(value) if "." in value else int(value)
        return str(orjson.loads(value)) if value.startswith('"') else value
    except ValueError:
        return value


class Logged:
    """A report whose every word is logged as well; `shown` is what the user still sees of it."""

    def __init__(self, report: Report, log: Log, *, console: bool) -> None:
        """`console`: the log itself is what the user sees, besides the answer on stdout."""
        self._report, self._log, self._console = report, log, console
        self._run: dict[str, Any] = {}
        self._told = utc_now()

    def say(self, text: str) -> None:
        """What a child logged below a warning is for the log alone."""
        if child := parsed(text):
            level, message, fields = child
        else:
            level = logging.WARNING if text.startswith("warning: ") else logging.INFO
            message, fields = text.removeprefix("warning: "), self._run
        self._log.write(level, message, fields)
        if not self._console and (not child or level >= logging.WARNING):
            self._report.say(text)

    def progress(self, plan: Plan, tally: Tally) -> None:
        from sharder.report import facts

        self._run = {"run": plan.run}
        if not self._console:
            self._report.progress(plan, tally)
        now = utc_now()
        if (now - self._told).total_seconds() >= EVERY_S:
            self._told = now
            elapsed_s = (now - plan.created).total_seconds()
            for name, totals in tally.sources().items():
                fields = {"event": "progress", **self._run, "round": plan.round}
                self._log.write(logging.INFO, "", fields | facts(name, totals, elapsed_s))

    def summary(self, summary: Summary) -> None:
        level = logging.ERROR if summary.exit_code else logging.INFO
        counts = {
            "rows": summary.rows,
            **summary.cells.model_dump(),
            "exit_code": summary.exit_code,
        }
        fields = {"event": "summary", "run": summary.run, "round": summary.round, **counts}
        self._log.write(level, "", fields)
        self._report.summary(summary)

    def failed(self, error: BaseException) -> None:
        """The error that ends the command."""
        text = str(error) or type(error).__name__
        self._log.write(logging.ERROR, text, self._run)

    def close(self) -> None:
        self._report.close()


@contextmanager
def logged(report: Report, settings: Settings) -> Iterator[Report]:
    """The report with the log that the settings ask for. Raises InputError for a file that cannot be written."""
    if not settings.log_file and not settings.log_console:
        yield report
        return
    with ExitStack() as stack:
        streams = [sys.stderr] if settings.log_console else []
        if settings.log_file:
            streams.append(stack.enter_context(_appended(settings.log_file)))
        log = Log(streams, settings.log_format, settings.log_level)
        found = Logged(report, log, console=settings.log_console)
        try:
            yield found
        except BaseException as error:
            found.failed(error)
            raise


def _appended(path: str) -> TextIO:
    try:
        return Path(path).open("a", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"the log file '{path}' cannot be written: {error.strerror}",
            "name another with --log-file-name, or leave it out: no file is the default",
        ) from error
