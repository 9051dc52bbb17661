"""The published JSON Schemas accept what the loader accepts, and find misspelt options."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from contracts.specfile import load
from sharder import schemas, spec_page
from tests.unit.test_spec_corpus import CASES, CORPUS, NOW, read_case

DOCS = Path(__file__).parents[2] / "docs" / "reference"
WRITTEN = dict(schemas.schemas())
SPEC = Draft202012Validator(WRITTEN["spec.json"])
AGAIN = "run: python -m sharder.schemas docs/reference"

# Documents that load, and that an editor may well complain about.
ODD = {
    "005-several-files": "two arguments",
    "017-dashes-inside-a-block-are-text": "options of no plugin",
    "094-duplicate-key-by-case": "a key in another case",
    "095-keys-in-any-case": "keys in another case",
    "098-null-in-a-list-is-an-empty-text": "a null among texts",
}


def documents(name, monkeypatch):
    monkeypatch.chdir(CORPUS)
    case = read_case(name)
    return load(case.args, case.environment, NOW, relaxed=True).documents


@pytest.mark.parametrize("name", [n for n in CASES if n not in ODD])
def test_what_loads_is_right_by_the_schema_too(name, monkeypatch):
    case = read_case(name)
    if not case.ok:
        return
    checked = case.flags & {"check", "select"}
    for document in documents(name, monkeypatch):
        value = document.parsed.value
        if not checked and value.get("spec"):
            value["spec"] = {k: v for k, v in value["spec"].items() if k != "spec"}
            errors = [e for e in SPEC.iter_errors(value) if "'spec' is a required" not in e.message]
        else:
            errors = list(SPEC.iter_errors(value))
        assert errors == []


@pytest.mark.parametrize("name", ODD)
def test_an_exception_is_still_needed(name):
    assert read_case(name).ok


MISSPELT = {
    "source aws": "{kind: source, spec: {name: a, path: cloudquery/aws, tables: [x], destinations: [d], spec: {org: {member_role_nam: r}}}}",
    "source hackernews": "{kind: source, spec: {name: a, path: cloudquery/hackernews, tables: [x], destinations: [d], spec: {item_concurency: 5}}}",
    "source sql": "{kind: source, spec: {name: a, path: sql, tables: [x], destinations: [d], spec: {connection_string: c, databses: []}}}",
    "source without kind": "{spec: {name: a, path: cloudquery/hackernews, tables: [x], destinations: [d], spec: {item_concurency: 5}}}",
    "destination duckdb": "{kind: destination, spec: {name: a, path: cloudquery/duckdb, spec: {conection_string: c}}}",
    "destination postgresql": "{kind: destination, spec: {name: a, path: cloudquery/postgresql, spec: {connection_string: c, aws_iam_auth: {rgion: x}}}}",
    "destination s3": "{kind: destination, spec: {name: a, path: cloudquery/s3, spec: {bucket: b, region: r, path: p, format: csv, format_spec: {delimitr: ';'}}}}",
    "transformer basic": "{kind: transformer, spec: {name: a, path: cloudquery/basic, spec: {transformations: [{kind: remove_columns, tables: ['*'], colums: [a]}]}}}",
    "fleet": "{kind: fleet, spec: {sources: {aws: {rate_limt: 5}}}}",
    "outer": "{kind: destination, spec: {name: a, path: cloudquery/duckdb, writemode: append, spec: {connection_string: c}}}",
    "beside": "{kind: destination, sepc: {}}",
    "missing options": "{kind: destination, spec: {name: a, path: cloudquery/duckdb}}",
}


@pytest.mark.parametrize("what", MISSPELT)
def test_a_misspelt_option_is_wrong_by_the_schema(what):
    assert not SPEC.is_valid(yaml.safe_load(MISSPELT[what]))


@pytest.mark.parametrize(
    "text",
    [
        "{kind: source, spec: {name: '${N}', path: cloudquery/hackernews, tables: '${T}', destinations: [d], spec: {item_concurrency: '${C}'}}}",
        "{kind: source, spec: {name: a, path: cloudquery/aws, tables: ['*'], destinations: [d], spec: '${OPTIONS}', skip_dependent_tables: '${FLAG}', registry: ~}}",
        "{kind: destination, spec: {name: a, path: cloudquery/postgresql, write_mode: '${MODE}', spec: {connection_string: '${PG}', aws_iam_auth: ~}}}",
        "{kind: destination, spec: {name: a, registry: docker, path: 'ghcr.io/x/duckdb:v1', spec: {anything: 1}}}",
        "{kind: fleet, spec: {part_size: 128MiB, keep: 7d, shard_seconds: 90, sources: {a: {rate_limit: 20/s}}}}",
        "{kind: fleet}",
    ],
)
def test_variables_nulls_and_words_are_right_by_the_schema(text):
    assert list(SPEC.iter_errors(yaml.safe_load(text))) == []


@pytest.mark.parametrize("name", WRITTEN)
def test_a_schema_is_one_and_lets_no_unknown_key_in(name):
    Draft202012Validator.check_schema(WRITTEN[name])
    for schema in _objects(WRITTEN[name]):
        assert schema.get("additionalProperties") is not None, schema


def _objects(schema):
    """Every schema that lists the keys of a mapping, but for conditions."""
    if isinstance(schema, list):
        for inner in schema:
            yield from _objects(inner)
    elif isinstance(schema, dict):
        if "properties" in schema and schema.get("type") == "object":
            yield schema
        for key, inner in schema.items():
            if key not in {"if", "then", "default", "examples"}:
                yield from _objects(inner)


@pytest.mark.parametrize("name", WRITTEN)
def test_the_published_schema_is_what_the_models_say(name):
    assert (DOCS / "schemas" / name).read_text() == schemas.text(WRITTEN[name]), AGAIN


def test_no_schema_is_published_that_no_model_has():
    assert {p.name for p in (DOCS / "schemas").iterdir()} == set(WRITTEN)


def test_the_page_of_fields_is_what_the_models_say():
    assert (DOCS / "spec.md").read_text() == spec_page.page(), AGAIN


def test_secrets_and_options_without_effect_are_marked_for_editors():
    fields = WRITTEN["destination-postgresql.json"]["properties"]
    assert fields["connection_string"]["writeOnly"] is True
    assert fields["batch_size"]["deprecated"] is True
    assert "moot" not in json.dumps(WRITTEN)
    assert "writeOnly" not in fields["lakebase"]
