"""Secrets stay out of what programs say, also where a driver quotes a part of what it was given."""

from __future__ import annotations

import pickle

import pytest

from contracts.errors import Transient
from contracts.queue import Message
from contracts.specfile import expand_document, seal
from loader.prepare import prepare
from tests.fakes.stage import StageRun

PASSWORDS = ["pl4nted", "pl4nted/rest1", "pl4nted@rest1", "pl4nted#rest1", "pl4nted%rest1"]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("variable", ["whole", "password"])
def test_a_destination_that_refuses_tells_no_part_of_its_password(tmp_path, password, variable):
    dsn = f"postgresql://ann:{password}@127.0.0.1:1/db"
    text = "${SECRET}" if variable == "whole" else "postgresql://ann:${SECRET}@127.0.0.1:1/db"
    environment = {"SECRET": dsn if variable == "whole" else password}
    run = StageRun(
        tmp_path, spec={"connection_string": text}, path="cloudquery/postgresql",
        environment=environment,
    )  # fmt: skip
    prepare(Message("prepare", run.run, destination="w"), stage=run.stage, environment=environment)
    found = run.stage.cursors(run.run, "w")
    assert found
    assert found.error
    assert "pl4nted" not in found.error.message
    assert "rest1" not in found.error.message
    stored = [run.stage.store.get(e.key) for e in run.stage.store.list("")]
    assert not [d for d in stored if b"pl4nted" in d or b"rest1" in d]


def test_a_literal_secret_is_kept_out_of_messages_as_one_of_the_environment_is(tmp_path):
    spec = tmp_path / "spec.yml"
    spec.write_text(
        "kind: source\nspec:\n  name: s\n  path: cloudquery/x\n  tables: ['*']\n"
        "  destinations: [w]\n  spec:\n    token: 'pl4nted: \"x\"'\n    keys: {a: other-secret}\n"
    )
    sealed = seal(spec.read_text(), ["spec.token", "spec.keys"], f"{spec}#1")
    assert "pl4nted" not in sealed
    document = expand_document(sealed, {}, "source 's'")
    assert document.model.spec == {"token": 'pl4nted: "x"', "keys": {"a": "other-secret"}}
    said = document.expanded.masked('refused: pl4nted: "x" and other-secret')
    assert "pl4nted" not in said
    assert "other-secret" not in said


def test_a_masked_error_is_what_it_was():
    error = Transient("no pl4nted", "say pl4nted", 7.0)
    error.mask(lambda text: text.replace("pl4nted", "***"))
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.after_s) == ("no ***\n  say ***", 7.0)
