"""Variables are pasted as text before YAML is parsed, each where it stands."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts.errors import InputError
from contracts.specfile import expand, load, outline

NOW = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def options(line, environment=None):
    """The options of a source whose only option is written by `line`."""
    text = (
        "kind: source\nspec:\n  name: s\n  path: a/b\n  tables: [t]\n  destinations: [d]\n"
        f"  spec:\n    {line}\n"
    )
    Path("spec.yml").write_text(text)
    (document,) = load(["spec.yml"], environment or {}, NOW, relaxed=True).documents
    assert expand(document.text, environment or {}, "x") == document.model
    return dict(document.model.spec)


@pytest.mark.parametrize(
    ("line", "value", "expected"),
    [
        ("k: ${V}", "text", "text"),
        ("k: ${V}", "123", 123),
        ("k: '${V}'", "123", "123"),
        ("k: ${V}", "[a, b]", ["a", "b"]),
        ("k: ${V}", '{"a": 1}', {"a": 1}),
        ("k: ${V}", "x # y", "x"),
        ("k: ${V}", "", None),
        ("k: a${V}b${V}", "-", "a-b-"),
        ("k: ${V}", "$${V}", "$${V}"),
        ("k: ${V}", "${OTHER}", "${OTHER}"),
        ("k: $${V}", "x", "$x"),
        ("k: $V", "x", "$V"),
        ("k: '{{now}}'", "x", "{{now}}"),
        ("k: 1 # ${UNSET}", "x", 1),
    ],
)
def test_a_value_is_pasted_as_text_and_never_looked_into(line, value, expected):
    assert options(line, {"V": value}) == {"k": expected}


def test_a_variable_that_is_not_set_is_named_with_its_place():
    with pytest.raises(
        InputError, match=r"^spec\.yml:8:10: the environment variable A B is not set"
    ):
        options("k: 'x${A B}'", {"A": "x"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("with ${V}", "with value"),
        ('{"a": 1}', '{"a": 1}'),
        ("no: json\nat all", "no: json at all"),
        ('{\n "a": "b"\n}\n', '{\n "a": "b"\n}\n'),
        ("-----BEGIN KEY-----\nabc\n-----END KEY-----\n", "-----BEGIN KEY-----\nabc\n-----END KEY-----\n"),
    ],
)  # fmt: skip
def test_a_file_is_pasted_and_json_or_pem_of_several_lines_as_one_text(elsewhere, text, expected):
    (elsewhere / "f").write_text(text)
    quotes = "'" if '"' in text and "\n" not in text else '"'
    assert options(f"k: {quotes}${{file:f}}{quotes}", {"V": "value"}) == {"k": expected}


def test_a_file_that_is_not_there_is_named_with_its_place():
    with pytest.raises(InputError, match=r"^spec\.yml:8:8: there is no file 'nope'"):
        options("k: ${file:nope}")


def test_a_directory_is_no_file(elsewhere):
    with pytest.raises(InputError, match=r"the file '\.' cannot be read: Is a directory"):
        options("k: ${file:.}")


def test_times_are_evaluated_once_and_fixed_for_the_stage():
    assert options("k: '${time:now}'") == {"k": "2026-01-05T12:30:00Z"}
    assert options("k: ${time:1 day ago|2006-01-02}") == {"k": "2026-01-04"}
    with pytest.raises(InputError, match=r"^spec\.yml:8:8: not a point in time: 'soon'"):
        options("k: ${time:soon}")


def test_a_time_inside_an_included_file_is_refused_where_it_could_differ(elsewhere):
    (elsewhere / "f").write_text("${time:now}")
    with pytest.raises(InputError, match="write \\$\\{time:now\\} in the spec itself"):
        options("k: ${file:f}")


def test_errors_behind_a_pasted_text_of_many_lines_still_name_the_right_line():
    with pytest.raises(
        InputError, match=r"^spec\.yml:9:10: the environment variable NO is not set"
    ):
        options("k: ${V}\n    l: ab${NO}", {"V": "[1,\n 2,\n 3]"})


def test_the_outline_of_a_document_needs_no_variable_and_reads_no_file():
    text = (
        "kind: destination\nspec:\n  Name: pg\n  path: '${P}'\n"
        "  spec: {dsn: ${DSN}, cert: ${file:/no}, at: ${time:x}}\n"
    )
    assert outline(text, "x") == (
        "destination",
        {
            "name": "pg",
            "path": "${P}",
            "spec": {"dsn": "${DSN}", "cert": "${file:/no}", "at": "${time:x}"},
        },
    )
