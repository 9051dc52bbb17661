"""Log lines: the job's names on each, as text and JSON, from its threads too, and no secrets."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Callable, Iterator

import orjson
import pytest

from contracts.observe import log
from contracts.veil import VEIL


@pytest.fixture
def lines() -> Iterator[Callable[[str], io.StringIO]]:
    """A log of its own: the handlers of the test runner are put aside."""
    root = logging.getLogger()
    level, hook = root.level, sys.excepthook
    levels = {name: logging.getLogger(name).level for name in log.PROGRAMS}

    def set_up(form: str, at: str = "info") -> io.StringIO:
        root.handlers.clear()
        stream = io.StringIO()
        log.set_up(at, form, stream)
        return stream

    yield set_up
    root.handlers.clear()
    root.setLevel(level)
    sys.excepthook = hook
    for name, was in levels.items():
        logging.getLogger(name).setLevel(was)


def read(stream: io.StringIO) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_the_names_of_its_job_once(lines):
    stream = lines("text")
    with log.job(run="r", shard="01-0000001", attempt="a", worker="host:1"):
        log.event("shard_done", run="r", rows=7, seconds=0.5)
    log.event("idle")
    done, idle = stream.getvalue().splitlines()
    assert done.endswith(
        " INFO event=shard_done run=r rows=7 seconds=0.500 shard=01-0000001 attempt=a worker=host:1"
    )
    assert idle.endswith(" INFO event=idle")


def test_json_keeps_the_types_of_fields_and_says_who_speaks(lines):
    stream = lines("json")
    with log.job(run="r", job="load w s t 1"):
        log.event("loaded", rows=7, error='a "b"')
        logging.getLogger("contracts.fleet.heart").warning("event=beat_lost error=%s", "gone")
        logging.getLogger("celery.worker").error("two\nlines")
    loaded, beat, library = read(stream)
    assert loaded.items() >= {
        "level": "info", "run": "r", "job": "load w s t 1", "event": "loaded", "rows": 7, "error": 'a "b"',
    }.items()  # fmt: skip
    assert beat.items() >= {"event": "beat_lost", "error": "gone", "run": "r"}.items()
    assert (
        library.items() >= {"logger": "celery.worker", "message": "two\nlines", "run": "r"}.items()
    )


def test_threads_of_a_job_speak_for_it(lines):
    stream = lines("json")
    with log.job(run="r"):
        with log.job(attempt="a"):
            thread = threading.Thread(target=lambda: log.event("from_a_thread"))
            thread.start()
            thread.join()
        log.event("after")
    first, second = read(stream)
    assert (first["run"], first["attempt"]) == ("r", "a")
    assert (second["run"], second.get("attempt")) == ("r", None)
    assert log.context() == {}


def test_two_jobs_in_threads_of_one_process_are_kept_apart(lines):
    stream = lines("json")
    barrier = threading.Barrier(2)

    def work(run: str) -> None:
        with log.job(run=run):
            barrier.wait()
            log.event("here", said=run)
            barrier.wait()

    threads = [threading.Thread(target=work, args=(run,)) for run in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(line["run"] == line["said"] for line in read(stream))


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_are_in_no_line_and_no_trace(lines, form):
    stream = lines(form)
    VEIL.remember({'hunter2"hunter2': "PASSWORD"})
    try:
        log.event("login", said='it is hunter2"hunter2', rows=1)
        logging.getLogger("lib").warning("login %s", 'hunter2"hunter2')
        try:
            raise ValueError('hunter2"hunter2')
        except ValueError:
            log.crashed("login_crashed")
    finally:
        VEIL._secrets.clear()
    assert "hunter2" not in stream.getvalue()
    assert stream.getvalue().count("PASSWORD") >= 3
    assert "ValueError" in stream.getvalue()


def test_libraries_are_heard_from_warnings_on_and_we_from_our_level_on(lines):
    stream = lines("json", "debug")
    logging.getLogger("botocore").info("no")
    logging.getLogger("botocore").warning("yes")
    logging.getLogger("worker.sources.aws").debug("yes")
    log.event("yes", logging.DEBUG)
    assert len(read(stream)) == 3


def test_a_line_of_text_stays_one_line(lines):
    stream = lines("text")
    logging.getLogger("lib").warning("two\nlines")
    assert stream.getvalue().endswith("WARNING two\\nlines\n")


def test_setting_up_again_changes_form_and_level_and_adds_no_second_line(lines):
    stream = lines("text")
    log.set_up("error", "json")
    log.event("no")
    log.event("yes", logging.ERROR)
    assert [line["event"] for line in read(stream)] == ["yes"]
