"""`sharder validate-config`: every error at once, with its place, and nothing asked of a network."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from tests.fakes.command import Run, running
from tests.fakes.specs import duckdb, postgresql, source, spec


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    return running(tmp_path, monkeypatch, capfd)


GOOD = spec(source("hackernews", {"item_concurrency": 10}), duckdb())


def check(run: Run, text: str, *flags: str) -> tuple[int, str, str]:
    Path("spec.yml").write_text(text)
    return run("validate-config", "spec.yml", *flags)


def test_a_right_spec_is_valid(run: Run, tmp_path: Path) -> None:
    code, out, err = check(run, GOOD)
    assert (code, out, err) == (0, "valid\n", "")
    assert [p.name for p in tmp_path.iterdir()] == ["spec.yml"]


def test_a_misspelt_nested_option_is_found_with_its_place_line_and_what_to_write(run: Run) -> None:
    code, out, err = check(run, GOOD.replace("item_concurrency", "item_concurency"))
    assert (code, out) == (2, "")
    assert "spec.yml:" in err
    assert "unknown key 'item_concurency'" in err
    assert "did you mean 'item_concurrency'?" in err
    assert "| " in err


def test_every_document_tells_its_error(run: Run) -> None:
    text = GOOD.replace("item_concurrency", "item_concurency").replace(
        "connection_string", "conection_string"
    )
    code, _, err = check(run, text)
    assert code == 2
    assert "item_concurency" in err
    assert "conection_string" in err


def test_errors_of_the_documents_and_of_their_options_are_told_together(run: Run) -> None:
    text = GOOD.replace("tables:", "tabels:").replace("connection_string", "conection_string")
    code, _, err = check(run, text)
    assert code == 2
    assert "did you mean 'tables'?" in err
    assert "did you mean 'connection_string'?" in err


def test_what_holds_between_documents_is_checked(run: Run) -> None:
    code, _, err = check(run, GOOD.replace("- w\n", "- warehouse\n"))
    assert code == 2
    assert "unknown destination 'warehouse'" in err


def test_a_pattern_that_matches_no_table_is_found_without_credentials(run: Run) -> None:
    text = spec(source("aws", {}, tables=("aws_ec2_instnces",)), duckdb())
    code, _, err = check(run, text)
    assert code == 2
    assert "did you mean 'aws_ec2_instances'?" in err


def test_a_region_that_does_not_exist_is_found_at_its_place(run: Run) -> None:
    text = spec(source("aws", {"regions": ["eu-west-9"]}, tables=("aws_s3_buckets",)), duckdb())
    code, _, err = check(run, text)
    assert code == 2
    assert "spec.yml:" in err
    assert "eu-west-9" in err


def test_options_of_transformers_are_checked(run: Run) -> None:
    transformer = {"kind": "transformer", "spec": {"name": "b", "path": "cloudquery/basic", "spec": {"transformatons": []}}}  # fmt: skip
    text = spec(source("hackernews", {}), duckdb(transformers=["b"]), transformer)
    code, _, err = check(run, text)
    assert code == 2
    assert "transformatons" in err


def test_warnings_do_not_make_a_spec_invalid(run: Run) -> None:
    text = spec(source("hackernews", {}, tables=("*", "hackernews_items")), duckdb())
    code, out, err = check(run, text)
    assert (code, out) == (0, "valid\n")
    assert "warning: spec.yml:" in err


def test_what_only_a_connection_can_tell_is_noted(run: Run) -> None:
    text = spec(source("db", {"connection_string": "sqlite:///x.db"}, plugin="sql"), duckdb())
    code, out, err = check(run, text)
    assert (code, out) == (0, "valid\n")
    assert "note: " in err
    assert "once it is connected" in err


def test_a_variable_that_only_the_loader_needs_is_noted(run: Run) -> None:
    code, _, err = check(run, spec(source("hackernews", {}), postgresql("${NOT_SET_HERE}")))
    assert code == 0
    assert "NOT_SET_HERE is not set here" in err


def test_a_secret_that_a_fleet_would_refuse_is_found_with_a_broker_only(run: Run) -> None:
    text = spec(source("hackernews", {}), postgresql("postgresql://u:secretword@h/db"))
    assert check(run, text)[0] == 0
    code, _, err = check(run, text, "--broker", "redis://127.0.0.1:1/0")
    assert code == 2
    assert "secret written out" in err
    assert "secretword" not in err


def test_the_options_of_a_program_are_left_to_it(run: Run) -> None:
    foreign = {"kind": "source", "spec": {"name": "x", "path": "acme/x", "version": "v1.0.0", "tables": ["*"], "destinations": ["w"]}}  # fmt: skip
    code, out, err = check(run, spec(foreign, duckdb()))
    assert (code, out) == (0, "valid\n")
    assert "is a program of its own" in err


def test_no_file_is_an_error_like_any_other(run: Run) -> None:
    code, _, err = run("validate-config", "nope.yml")
    assert code == 2
    assert "nope.yml" in err


def test_json_is_a_line_per_finding_and_a_verdict(run: Run) -> None:
    text = GOOD.replace("item_concurrency", "item_concurency").replace("connection_string", "c")
    code, out, err = check(run, text, "--json")
    *errors, verdict = [orjson.loads(line) for line in out.splitlines()]
    assert (code, err) == (2, "")
    assert [e["event"] for e in errors] == ["error", "error"]
    assert all(e["where"].startswith("spec.yml:") for e in errors)
    assert verdict == {"event": "invalid", "errors": 2}
    code, out, _ = check(run, GOOD, "--json")
    assert (code, orjson.loads(out)) == (0, {"event": "valid", "errors": 0})
