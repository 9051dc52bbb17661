"""Whole runs into a destination plugin, a program of its own: what arrives, what dies, what is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import Exit
from tests.fakes import specs
from tests.fakes.contents import differences, of_duckdb
from tests.fakes.fleet import Fleet
from tests.fakes.plugins.programs import python
from tests.fakes.sqlite_plugin import SqlitePlace

pytestmark = pytest.mark.timeout(240)

SECRET = "correct-horse-battery"


def lite(file: Path, *, mode: str = "overwrite-delete-stale", **options: Any) -> specs.Document:
    body = {
        "name": "lite", "path": python("destination"), "registry": "local", "write_mode": mode,
        "spec": {"file": str(file), "secret": SECRET, **options},
    }  # fmt: skip
    return {"kind": "destination", "spec": body}


def people(place: Path, *names: str, **outer: Any) -> specs.Document:
    lines = "".join(f"{n},{name}\n" for n, name in enumerate(names, 1))
    (place / "people.csv").write_text(f"id,name\n{lines}")
    options = {"path": "./people.csv", "primary_key": ["id"]}
    outer.setdefault("destinations", ["lite"])
    return specs.source("files", options, plugin="file", **outer)


def write(fleet: Fleet, *documents: specs.Document) -> None:
    (fleet.home / "spec.yml").write_text(specs.spec(*documents))


def names(place: SqlitePlace) -> list[str]:
    return [name for (name,) in place.rows("SELECT name FROM people ORDER BY id")]


@pytest.mark.slow
def test_a_plugin_holds_what_a_native_warehouse_holds_and_its_secret_stays_at_home(embedded):
    lite_place = SqlitePlace(embedded.home / "w.sqlite")
    both = ["lite", "w"]
    shout = {"name": "shout", "path": python("transformer"), "registry": "local", "spec": {"add": {"team": "core"}}}  # fmt: skip
    for people_are in (("ann", "bob", "cy"), ("ann", "eve")):
        target = lite(lite_place.file)
        target["spec"]["transformers"] = ["shout"]
        native = specs.duckdb(transformers=["shout"])
        write(
            embedded, people(embedded.home, *people_are, destinations=both), target, native,
            {"kind": "transformer", "spec": shout},
        )  # fmt: skip
        embedded.sharder("submit", "spec.yml")
        assert names(lite_place) == list(people_are)
    left_out = ("_cq_id", "_cq_parent_id")
    found = lite_place.contents(*left_out)
    assert {row["team"] for row in found["people"]} == {"core"}
    assert differences(found, of_duckdb(embedded.home / "w.duckdb", *left_out)) == []
    stage = embedded.home / ".sharder"
    told = [p for p in stage.rglob("*") if p.is_file() and SECRET.encode() in p.read_bytes()]
    assert told == []
    answer = embedded.sharder("test-connection", "spec.yml")
    assert "connected and ready to load (keyed-idempotent)" in answer.out
    assert "overwrite-delete-stale, keyed-idempotent" in embedded.sharder("plan", "spec.yml").out


@pytest.mark.slow
def test_a_plugin_that_dies_fails_the_load_with_its_end_and_retry_mends_it(embedded):
    """Rows are appended, so that nothing is tried again by itself."""
    place = SqlitePlace(embedded.home / "w.sqlite")
    faults = {"exit": 3, "once": str(embedded.home / "died")}
    write(embedded, people(embedded.home, "ann", "bob"), lite(place.file, mode="append", faults=faults))  # fmt: skip
    done = embedded.sharder("submit", "spec.yml", "--run-id", "r", expect=Exit.OUTSIDE)
    assert "after a crash it may hold rows twice" in done.said
    assert "exit code 3" in done.said
    assert "the disk is on fire" in done.said
    assert "sharder retry r" in done.said
    assert names(place) == []
    assert "2 rows" in embedded.sharder("retry", "r").said
    assert names(place) == ["ann", "bob"]


@pytest.mark.slow
def test_where_rows_have_keys_a_death_is_mended_at_once(embedded):
    place = SqlitePlace(embedded.home / "w.sqlite")
    faults = {"signal": 9, "once": str(embedded.home / "died")}
    write(embedded, people(embedded.home, "ann", "bob"), lite(place.file, faults=faults))
    embedded.sharder("submit", "spec.yml")
    assert (embedded.home / "died").exists()
    assert names(place) == ["ann", "bob"]


@pytest.mark.slow
def test_a_plugin_that_hangs_is_given_up(embedded):
    place = SqlitePlace(embedded.home / "w.sqlite")
    faults = {"hang": True, "once": str(embedded.home / "hung")}
    write(
        embedded, people(embedded.home, "ann"), lite(place.file, mode="append", faults=faults),
        specs.fleet(plugins={"lite": {"idle_timeout": "2s"}}),
    )  # fmt: skip
    done = embedded.sharder("submit", "spec.yml", "--run-id", "r", expect=Exit.OUTSIDE)
    assert "neither took nor sent nor logged anything for 2 s" in done.said


@pytest.mark.slow
def test_what_the_plugin_says_of_its_options_is_told_before_anything_is_read(embedded):
    write(embedded, people(embedded.home, "ann"), lite(embedded.home / "w.sqlite", filee="x"))
    done = embedded.sharder("submit", "spec.yml", expect=Exit.OUTSIDE)
    assert "unknown option filee" in done.said
    assert SECRET not in done.said
    assert not list((embedded.home / ".sharder").rglob("*.parquet"))


@pytest.mark.slow
def test_migrate_makes_the_tables_and_no_row(embedded):
    place = SqlitePlace(embedded.home / "w.sqlite")
    write(embedded, people(embedded.home, "ann"), lite(place.file))
    assert "migrated" in embedded.sharder("migrate", "spec.yml").out
    assert names(place) == []


def test_on_a_fleet_a_literal_under_a_name_that_may_be_a_secret_is_refused(embedded):
    write(
        embedded, people(embedded.home, "ann"), lite(embedded.home / "w.sqlite"),
        specs.fleet(broker="redis://127.0.0.1:1/0", stage="./stage"),
    )  # fmt: skip
    done = embedded.sharder("submit", "spec.yml", expect=Exit.INPUT)
    assert "has a secret written out" in done.said
    assert "write instead: secret: ${LITE_SECRET}" in done.said
    assert SECRET not in done.said
    assert json.dumps(SECRET) not in done.said
