"""The rim of the loader: messages, prepare, cache, heartbeat, command line."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from click.testing import CliRunner

from contracts.errors import InputError, Permanent, Unreachable, VersionUnknown
from contracts.queue import Message
from loader import handle as handler
from loader import pulse
from loader.cache import Warehouses
from loader.cli import cli
from loader.documents import OpenDestination, destination
from loader.handle import handle
from loader.load import load
from loader.prepare import prepare
from loader.reference import PAGES, filled
from loader.warehouses import registry
from tests.fakes.stage import Bad, StageRun, StillHeart, rows, shard

DOCS = Path(__file__).parents[2] / "docs" / "reference"


@pytest.fixture
def run(tmp_path: Path) -> StageRun:
    found = StageRun(tmp_path / "stage", spec={"connection_string": str(tmp_path / "w.duckdb")})
    found.round([shard({"a": rows(1)})])
    return found


@pytest.fixture
def here(run: StageRun, monkeypatch: pytest.MonkeyPatch) -> StageRun:
    """The stage of the run is the process's; what the handler opened is closed again."""
    monkeypatch.setenv("SHARDER_STAGE", str(run.stage.store.url))
    yield run
    handler._warehouses().close()


# Messages


def test_a_load_message_is_handled(here):
    handle(here.message().to_bytes(), StillHeart())
    receipt = here.stage.receipt("run-1", "w", "src", "items", 1)
    assert receipt.published == 1


def test_a_prepare_message_is_handled(here):
    handle(Message("prepare", "run-1", destination="w").to_bytes(), StillHeart())
    assert here.stage.cursors("run-1", "w").guarantee == "transactional"


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b'{"kind": "load"}', b'{"kind": "shard", "run": "r", "shard": "01-0000000"}'],
)
def test_a_message_that_is_not_for_us_is_logged_and_dropped(here, caplog, data):
    with caplog.at_level(logging.ERROR, "sharder"):
        handle(data, StillHeart())
    assert "event=message_dropped" in caplog.text or "event=job_refused" in caplog.text


def test_a_load_that_must_come_again_leaves_no_receipt(here, caplog):
    here.round([shard({"b": rows(1)}, missing=True)], number=2)
    with caplog.at_level(logging.WARNING, "sharder"):
        handle(here.message(2).to_bytes(), StillHeart())
    assert "event=job_postponed" in caplog.text
    assert here.stage.receipt("run-1", "w", "src", "items", 2) is None


def test_a_run_that_is_gone_leaves_nothing_behind(here, caplog):
    message = Message("load", "gone", destination="w", source="src", table="items", round=1)
    with caplog.at_level(logging.ERROR, "sharder"):
        handle(message.to_bytes(), StillHeart())
    assert "has no round 1 of run gone" in caplog.text
    assert not list(here.stage.store.list("runs/gone/"))


def test_a_bug_is_logged_with_its_trace_and_does_not_end_the_process(here, caplog, monkeypatch):
    monkeypatch.setattr(handler, "load", lambda *_, **__: 1 / 0)
    with caplog.at_level(logging.ERROR, "sharder"):
        handle(here.message().to_bytes(), StillHeart())
    assert "event=job_crashed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_load_whose_other_attempt_is_alive_is_left_alone(here, caplog):
    class Alive(StillHeart):
        def fresh(self, run: str, job: str) -> bool:
            return True

    with caplog.at_level(logging.INFO, "sharder"):
        handle(here.message().to_bytes(), Alive())
    assert "event=load_elsewhere" in caplog.text
    assert here.stage.attempts("run-1", here.message().job) == 0


def test_a_commit_of_a_newer_release_is_left_untouched(run):
    key = "runs/run-1/commits/01-0000000.json"
    document = json.loads(run.stage.store.get(key)) | {"version": 99}
    run.stage.store.put(key, json.dumps(document).encode())
    with pytest.raises(VersionUnknown, match="version 99"):
        run.load()
    assert run.stage.receipt("run-1", "w", "src", "items", 1) is None


def test_an_attempt_exists_before_anything_is_done(run):
    run.load()
    assert run.stage.attempts("run-1", run.message().job) == 1


# Prepare


def prepared(run: StageRun) -> Any:
    prepare(Message("prepare", "run-1", destination="w"), stage=run.stage, environment={})
    return run.stage.cursors("run-1", "w").error


def rewrite(run: StageRun, **spec: object) -> None:
    document = {"kind": "destination", "spec": {"name": "w", "path": "cloudquery/duckdb", **spec}}
    run.stage.store.put("runs/run-1/spec/1.yml", json.dumps(document).encode())


def test_a_missing_option_is_the_users_to_mend(run):
    rewrite(run, spec={})
    error = prepared(run)
    assert error.exit_code == 2
    assert "connection_string" in error.message


def test_an_unset_variable_is_the_users_to_mend(run):
    rewrite(run, spec={"connection_string": "${NOWHERE}"})
    error = prepared(run)
    assert error.exit_code == 2
    assert "NOWHERE" in error.message


def test_an_unknown_plugin_is_named_with_the_nearest_one(run):
    rewrite(run, path="cloudquery/duckbd")
    error = prepared(run)
    assert error.exit_code == 2
    assert "did you mean 'duckdb'" in error.message


def test_a_destination_that_the_run_does_not_have_is_an_error(run):
    prepare(Message("prepare", "run-1", destination="x"), stage=run.stage, environment={})
    assert "'x'" in run.stage.cursors("run-1", "x").error.message


def test_a_warehouse_that_does_not_answer_is_reported_by_name(run):
    def refuse(found: OpenDestination) -> Any:
        raise Unreachable("nobody answers")

    prepare(
        Message("prepare", "run-1", destination="w"),
        stage=run.stage, environment={}, warehouses=Warehouses(refuse),
    )  # fmt: skip
    error = run.stage.cursors("run-1", "w").error
    assert (error.exit_code, error.message) == (4, "destination 'w': nobody answers")


# Cache


class Recorder:
    def __init__(self, name: str, events: list[str]) -> None:
        self.name, self.events = name, events
        self.broken = False

    def prepare(self) -> None:
        self.events.append(f"prepare {self.name}")
        if self.broken:
            raise Permanent("broken")

    def close(self) -> None:
        self.events.append(f"close {self.name}")


@pytest.fixture
def found(run: StageRun) -> OpenDestination:
    return destination(run.stage, "run-1", "w", {})


def test_a_warehouse_is_opened_once_per_run_and_the_oldest_is_closed(found):
    events: list[str] = []
    names = iter("abc")
    cache = Warehouses(lambda _: Recorder(next(names), events), size=2)
    for run in ("1", "2", "1", "3"):
        with cache.use(run, found):
            pass
    assert events == ["prepare a", "prepare b", "prepare c", "close b"]
    cache.close()
    assert sorted(events[4:]) == ["close a", "close c"]


def test_a_warehouse_that_met_an_error_is_opened_anew(found):
    events: list[str] = []
    names = iter("ab")
    cache = Warehouses(lambda _: Recorder(next(names), events))
    with pytest.raises(Permanent), cache.use("1", found):
        raise Permanent("no")
    with cache.use("1", found):
        pass
    assert events == ["prepare a", "close a", "prepare b"]


def test_a_warehouse_that_cannot_be_prepared_is_closed(found):
    events: list[str] = []
    broken = Recorder("a", events)
    broken.broken = True
    with pytest.raises(Permanent), Warehouses(lambda _: broken).use("1", found):
        pass
    assert events == ["prepare a", "close a"]


# Heartbeat


def test_a_heart_beats_while_the_job_runs_and_survives_a_broker_that_is_away(monkeypatch):
    monkeypatch.setattr(pulse, "EVERY_S", 0.001)
    beaten, stopped = Event(), Event()

    class Heart(StillHeart):
        beats = 0

        def beat(self, run: str, job: str, attempt: str) -> None:
            self.beats += 1
            if self.beats == 2:
                raise Unreachable("broker")
            if self.beats == 4:
                beaten.set()

        def stop(self, run: str, job: str) -> None:
            stopped.set()

    with pulse.beating(Heart(), "r", "j", "a"):
        assert beaten.wait(20)
    assert stopped.is_set()


# Command line


def invoke(run: StageRun, *arguments: str) -> Any:
    return CliRunner().invoke(
        cli, [*arguments, "--stage", str(run.stage.store.url)], standalone_mode=False
    )


def test_a_table_is_loaded_by_hand(run):
    result = invoke(run, "load", "run-1", "src", "items")
    assert (result.return_value, result.exception) == (0, None)
    assert "w: items 1 rows, 0 duplicates, 0 stale" in result.output
    assert "round 1 ok" in result.output


def test_a_load_with_failed_cells_is_partial(run):
    run.round([shard({"b": Bad("denied")})], number=2)
    assert invoke(run, "load", "run-1", "src", "items", "--round", "2").return_value == 3


def test_a_failed_load_by_hand_says_why(run):
    rewrite(run, spec={"connection_string": ":memory:"})
    result = invoke(run, "load", "run-1", "src", "items", "--destination", "w")
    assert result.return_value == 4
    assert "in memory" in result.output


@pytest.mark.parametrize(("arguments", "message"), [
    (("load", "run-9", "src", "items"), "has no run 'run-9'"),
    (("load", "run-1", "src", "items", "--destination", "x"), "no destination 'x'"),
    (("load", "run-1", "src", "other"), "no table 'other'"),
    (("load", "../x", "src", "items"), "not a run id"),
])  # fmt: skip
def test_what_does_not_exist_is_named(run, arguments, message):
    result = invoke(run, *arguments)
    assert message in str(result.exception)


def test_a_destination_is_looked_at_by_hand(run):
    run.load()
    result = invoke(run, "prepare", "run-1", "w")
    assert result.return_value == 0
    assert "w: transactional" in result.output
    assert "src: last sync 2026-01-01T00:00:00+00:00" in result.output


def test_a_destination_that_cannot_be_opened_gives_its_exit_code(run):
    rewrite(run, spec={"connection_string": ":memory:"})
    result = invoke(run, "prepare", "run-1", "w")
    assert result.return_value == 2


def test_serving_needs_a_broker(monkeypatch):
    monkeypatch.delenv("SHARDER_BROKER", raising=False)
    result = CliRunner().invoke(cli, ["run"], standalone_mode=False)
    assert "SHARDER_BROKER" in str(result.exception)


# Registry and pages


def test_every_engine_names_its_options_without_being_imported_whole():
    for name in registry.names():
        place = "connection_string" if registry.traits(name).lands else "path"
        assert place in registry.options(name).model_fields


def test_an_unknown_engine_is_an_input_error():
    with pytest.raises(InputError, match="known are"):
        registry.options("oracle")


@pytest.mark.parametrize("page", PAGES)
def test_the_generated_pages_are_those_of_the_code(page):
    text = (DOCS / page).read_text()
    assert filled(page, text) == text, "run: python -m loader.reference docs/reference"


def test_a_page_without_a_place_for_the_generated_part_is_an_error():
    with pytest.raises(ValueError, match=r"types\.md"):
        filled("types.md", "nothing")


def test_a_load_is_refused_early_when_its_receipt_exists(run):
    first = run.load()
    second = load(run.message(), stage=run.stage, heart=StillHeart(), environment={})
    assert second == first
