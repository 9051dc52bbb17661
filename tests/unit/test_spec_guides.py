"""The setups that CloudQuery's guides teach load without a warning, and their nested options are right."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from contracts.specfile import load
from sharder import check, schemas
from sharder.select import select, surprises
from tests.unit.test_spec_corpus import NOW, tables_of

GUIDES = Path(__file__).parent / "specs" / "guides"
ENVIRONMENT = {
    "PG_CONNECTION_STRING": "postgresql://loader:pw@db.example/elt",
    "EXTERNAL_ID": "of-the-role",
    "MEMBER_EXTERNAL_ID": "of-the-roles",
}
SPEC = Draft202012Validator(schemas.document())


@pytest.fixture(params=sorted(p.name for p in GUIDES.glob("*.yml")))
def guide(request, monkeypatch):
    monkeypatch.chdir(GUIDES)
    return request.param


def test_a_guide_loads_and_its_options_are_right(guide):
    found = load([guide], ENVIRONMENT, NOW)
    assert found.warnings == ()
    assert check.check(found) == ()


def test_a_guide_selects_tables_that_exist(guide):
    found = load([guide], ENVIRONMENT, NOW)
    for source in found.spec.sources:
        tables, document = tables_of(source), found.document("source", source.name)
        assert select(source, tables, document)
        assert list(surprises(source, tables, document)) == []


def test_a_guide_is_right_by_the_schema_as_it_is_written(guide):
    for document in yaml.safe_load_all(Path(guide).read_text()):
        assert list(SPEC.iter_errors(document)) == []


def guide_of(name, monkeypatch):
    monkeypatch.chdir(GUIDES)
    return load([f"{name}.yml"], ENVIRONMENT, NOW).spec


def test_the_state_is_kept_where_the_rows_go(monkeypatch):
    (source,) = guide_of("hackernews-to-duckdb", monkeypatch).sources
    assert source.backend_options
    assert source.backend_options.destination == "duckdb"


def test_a_window_is_laid_out_as_it_was_asked_for(monkeypatch):
    spec = guide_of("time-windows", monkeypatch)
    assert spec.sources[0].spec == {"start_time": "2025-12-29T12:30:00Z"}
    assert spec.destinations[0].spec == {"connection_string": "history-2026-01.duckdb"}


def test_secrets_come_from_files(monkeypatch):
    database, lake = guide_of("secrets-from-files", monkeypatch).destinations
    assert database.spec["connection_string"].startswith("postgresql://loader:correct-horse@db")
    assert yaml.safe_load(lake.spec["service_account_key_json"])["project_id"] == "lake"


def test_every_account_keeps_its_own_role(monkeypatch):
    _, source = guide_of("several-sources-several-destinations", monkeypatch).sources
    assert source.destinations == ("warehouse", "lake", "local")
    assert [a["id"] for a in source.spec["accounts"]] == ["production", "012345678901"]
