"""What is checked of destinations and transformers that are programs: little is known of their options."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts.errors import InputError
from contracts.specfile import LoadedSpec, load
from contracts.veil import VEIL
from sharder import check
from tests.fakes import specs

AT = datetime(2026, 1, 1, tzinfo=UTC)
Load = Callable[..., LoadedSpec]


def program(name: str = "lite", *, kind: str = "destination", **outer: object) -> specs.Document:
    body = {"name": name, "path": "/opt/lite", "registry": "local", **outer}
    return {"kind": kind, "spec": body}


@pytest.fixture
def read(tmp_path: Path) -> Load:
    def spec(*documents: specs.Document, **environment: str) -> LoadedSpec:
        (tmp_path / "people.csv").write_text("id\n1\n")
        options = {"path": "./people.csv"}
        source = specs.source("files", options, plugin="file", destinations=["lite"])
        (tmp_path / "spec.yml").write_text(specs.spec(source, *documents))
        return load([tmp_path / "spec.yml"], environment, AT)

    return spec


def test_options_of_a_program_are_taken_as_they_are(read):
    loaded = read(program(spec={"Anything": {"goes": [1, None]}}))
    assert check.check(loaded) == ()
    assert loaded.spec.destination("lite").spec == {"Anything": {"goes": [1, None]}}


def test_what_may_be_a_secret_is_kept_off_the_stage_and_out_of_what_is_said(read):
    loaded = read(
        program(spec={"host": "h", "Password": "hunter-two", "url": "https://u:letmein@h/x"}),
        program("t", kind="transformer", spec={"deep": [{"api_key": "key-four"}]}),
    )
    check.check(loaded)
    sealed = "".join(check.texts(loaded, sealed=True))
    assert not [s for s in ("hunter-two", "letmein", "key-four") if s in sealed]
    assert "host: h" in sealed
    assert not {"hunter-two", "key-four"} & {*VEIL("hunter-two, key-four").split(", ")}
    with pytest.raises(InputError, match="has a secret written out") as caught:
        check.refuse_literals(loaded)
    assert "password: ${LITE_PASSWORD}" in str(caught.value)


def test_a_source_that_is_a_program_is_treated_alike(tmp_path):
    body = {
        "name": "x", "path": "/opt/x", "registry": "local", "tables": ["*"], "destinations": ["lite"],
        "spec": {"api_key": "key-five"},
    }  # fmt: skip
    (tmp_path / "spec.yml").write_text(specs.spec({"kind": "source", "spec": body}, program()))
    loaded = load([tmp_path / "spec.yml"], {}, AT)
    check.check(loaded)
    assert "key-five" not in "".join(check.texts(loaded, sealed=True))
    with pytest.raises(InputError, match="has a secret written out"):
        check.refuse_literals(loaded)


def test_a_variable_is_no_literal(read):
    loaded = read(program(spec={"password": "${LITE_PASSWORD}", "tokens": ["${A}", "${B}"]}), A="1", B="2")  # fmt: skip
    check.check(loaded)
    check.refuse_literals(loaded)


def test_appending_through_a_program_is_warned_about(read):
    (warning,) = check.check(read(program(write_mode="append")))
    assert "after a crash it may hold rows twice" in warning
    assert "spec.yml:" in warning
    native = specs.duckdb(name="lite", write_mode="append")
    assert check.check(read(native)) == ()


def test_a_plugin_of_the_hub_without_a_version_is_taken_for_a_misspelt_one(read):
    hub = {"name": "lite", "path": "cloudquery/postgres", "spec": {}}
    with pytest.raises(InputError, match="did you mean 'postgresql'") as caught:
        check.check(read({"kind": "destination", "spec": hub}))
    assert "spec.yml:" in caught.value.where
    assert check.check(read({"kind": "destination", "spec": {**hub, "version": "v1.0.0"}})) == ()
