"""The log of a command: levels, text and JSON, and what child processes say, without secrets."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharder.hide import Hider
from sharder.log import Log, Logged, parsed
from sharder.report import Lines

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
DONE = (
    '2026-01-02 03:04:05,678 INFO event=shard_done run=r shard=01-0000001 rows=7 seconds=0.500 error="a \\"b\\""'
)  # fmt: skip


def log(form: str = "text", level: str = "info") -> tuple[Log, io.StringIO]:
    stream = io.StringIO()
    return Log([stream], form, level, now=lambda: NOW), stream


def logged(
    *, console: bool = False, level: str = "info"
) -> tuple[Logged, io.StringIO, io.StringIO]:
    found, stream = log(level=level)
    shown = io.StringIO()
    return Logged(Lines(io.StringIO(), shown), found, console=console), stream, shown


def test_a_line_of_text_stays_one_line() -> None:
    found, stream = log()
    found.write(logging.INFO, "two\nlines", {"run": "r", "why": 'a "b"\nc'})
    assert stream.getvalue() == (
        '2026-01-02T03:04:05.678901Z INFO two\\nlines run=r why="a \\"b\\"\\nc"\n'
    )


def test_json_has_time_level_message_and_fields() -> None:
    found, stream = log("json")
    found.write(logging.WARNING, "hm", {"rows": 3})
    assert orjson.loads(stream.getvalue()) == {
        "time": "2026-01-02T03:04:05.678901+00:00", "level": "warning", "message": "hm", "rows": 3,
    }  # fmt: skip


def test_what_a_child_logged_has_its_own_level_and_fields() -> None:
    assert parsed(DONE) == (
        logging.INFO,
        "",
        {
            "event": "shard_done", "run": "r", "shard": "01-0000001", "rows": 7, "seconds": 0.5,
            "error": 'a "b"',
        },
    )  # fmt: skip
    assert parsed("run r: 3 tables") is None


@given(st.text(max_size=60))
def test_no_text_of_a_child_breaks_the_log(text: str) -> None:
    assert parsed(f"2026-01-02 03:04:05,678 ERROR {text}")


def test_ids_that_look_like_numbers_stay_text() -> None:
    found = parsed("2026-01-02 03:04:05,678 INFO event=x client=000123456789 rows=***")
    assert found
    assert found[2] == {"event": "x", "client": "000123456789", "rows": "***"}


def test_facts_of_shards_are_for_the_log_and_trouble_is_shown_too() -> None:
    report, stream, shown = logged()
    report.say(DONE)
    report.say("2026-01-02 03:04:05,678 WARNING event=load_waits run=r job=x")
    report.say("a sentence")
    report.say("warning: a table is missing")
    assert [line.split(" ")[1] for line in stream.getvalue().splitlines()] == [
        "INFO", "WARNING", "INFO", "WARNING",
    ]  # fmt: skip
    assert "shard_done" not in shown.getvalue()
    assert len(shown.getvalue().splitlines()) == 3


def test_with_a_console_log_nothing_is_said_twice() -> None:
    report, stream, shown = logged(console=True)
    report.say("a sentence")
    assert "a sentence" in stream.getvalue()
    assert shown.getvalue() == ""


def test_secrets_of_the_documents_are_taken_out_of_what_children_say() -> None:
    read: list[str] = []

    def texts() -> Iterator[str]:
        read.append("once")
        yield (
            "kind: destination\nspec: {name: w, path: cloudquery/duckdb, "
            'spec: {connection_string: "${HIDDEN}"}}'
        )
        yield "kind: destination\nspec: {name: x, path: p, spec: {a: '${UNSET_HERE}'}}"

    said: list[str] = []
    hide = Hider(said.append, texts, {"HIDDEN": "hunter2hunter2"})
    assert not read
    hide("Traceback: cannot open hunter2hunter2")
    hide("again hunter2hunter2")
    assert said == ["Traceback: cannot open ${HIDDEN}", "again ${HIDDEN}"]
    assert read == ["once"]


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_what_is_below_the_level_is_left_out(level: str) -> None:
    found, stream = log(level=level)
    for name in ("debug", "info", "warning", "error"):
        found.write(logging.getLevelNamesMapping()[name.upper()], name, {})
    assert [line.split(" ")[2] for line in stream.getvalue().splitlines()] == [
        name
        for name in ("debug", "info", "warning", "error")
        if logging.getLevelNamesMapping()[name.upper()]
        >= logging.getLevelNamesMapping()[level.upper()]
    ]
