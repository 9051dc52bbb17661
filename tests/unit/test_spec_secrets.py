"""Literals in secret fields are found, and kept off the stage."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from contracts.errors import InputError
from contracts.specfile import expand, line_to_write, literals, load, seal

NOW = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)
PATHS = ["spec.dsn", "spec.accounts.*.token", "spec.key"]
HEAD = "kind: destination\nspec:\n  name: d\n  path: a/d\n  spec:\n"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("dsn: postgres://u:p@h/d", [("spec.dsn", 6)]),
        ("dsn: postgres://u:${PW}@h/d", [("spec.dsn", 6)]),
        ("DSN: 'x'", [("spec.dsn", 6)]),
        ("dsn: 5", [("spec.dsn", 6)]),
        ("key: {user: u, pass: '${P}'}", [("spec.key", 6)]),
        ("accounts:\n    - token: a\n    - {token: '${T}'}\n    - token: b",
         [("spec.accounts.0.token", 7), ("spec.accounts.2.token", 9)]),
        ("dsn: ${DSN}", []),
        ('dsn: "${DSN}"', []),
        ("dsn: ${file:/etc/dsn}", []),
        ("dsn: ${A}${B}", []),
        ("key: {user: '${U}', pass: [\"${P}\"]}", []),
        ("dsn: ''", []),
        ("dsn:", []),
        ("other: secret", []),
        ("x: 1 # dsn: secret", []),
    ],
)  # fmt: skip
def test_a_literal_is_what_is_not_wholly_made_of_variables(line, found):
    assert literals(f"{HEAD}    {line}\n", PATHS) == found


def test_the_line_to_write_instead_names_a_variable():
    assert line_to_write("spec.connection_string", "my-pg") == (
        "connection_string: ${MY_PG_CONNECTION_STRING}"
    )


@pytest.fixture
def spec(tmp_path):
    """Write a spec of which the destination is the second document; returns its sealed text."""

    def written(options):
        file = tmp_path / "a # {b}.yml"
        file.write_text(f"# one\n---\n{HEAD}    {options}\n")
        (document,) = load([file], {}, NOW, relaxed=True).documents
        return document, seal(document.text, PATHS, f"{document.file}#{document.number}"), file

    return written


@pytest.mark.parametrize(
    "options",
    [
        "dsn: hunter2-secret",
        'dsn: "hunter2-\\u0020\\"secret"  # x',
        "'dsn' :   'hunter2-''x'\n    next: 1",
        "dsn: |\n      hunter2-a\n      # hunter2-b\n    next: 1",
        "dsn: >-\n      hunter2-a\n\n      hunter2-b",
        "dsn:\n      hunter2-a\n      hunter2-b",
        "dsn: &x hunter2-a\n    copy: *x",
        "dsn: !!str 1234567",
        "dsn: 1234567",
        "key:\n      a: hunter2-1\n      b: [hunter2-2, {c: hunter2-3}]\n    next: 1",
        "key:\n    - hunter2-1\n    - hunter2-2\n    next: 1",
        "accounts:\n    - token: hunter2-1\n      name: n\n    - {token: hunter2-2, name: m}",
        "accounts: [{name: a, token: hunter2-1}, {token: hunter2-2}]",
        "dsn: postgres://u:hunter2-@h/${DB}",
    ],
)
def test_a_sealed_document_has_no_literal_and_expands_to_the_same(spec, options):
    document, sealed, _ = spec(options)
    assert "hunter2" not in sealed
    assert "1234567" not in sealed
    assert literals(sealed, PATHS) == []
    environment = {"DB": "db"}
    assert expand(sealed, environment, "x") == expand(document.text, environment, "x")


def test_a_secret_that_left_the_file_is_told_and_so_is_its_variable(spec):
    _, sealed, file = spec("dsn: postgres://u:hunter2-@h/${DB}")
    with pytest.raises(InputError, match="the environment variable DB is not set"):
        expand(sealed, {}, "x")
    file.write_text(f"---\n{HEAD}    other: 1\n")
    with pytest.raises(InputError, match=r"has no 'spec\.spec\.dsn' any more"):
        expand(sealed, {"DB": "x"}, "x")
    file.write_text("a: 1\n")
    with pytest.raises(InputError, match="the file was changed since"):
        expand(sealed, {"DB": "x"}, "x")
    file.unlink()
    with pytest.raises(InputError, match="cannot be read: No such file"):
        expand(sealed, {"DB": "x"}, "x")


def test_a_time_elsewhere_in_the_document_is_no_part_of_the_secret(spec):
    _, sealed, file = spec("dsn: hunter2-a")
    file.write_text(f"---\n{HEAD}    since: ${{time:1 day ago}}\n    dsn: hunter2-a\n")
    found = expand(sealed, {}, "x")
    assert found.spec["dsn"] == "hunter2-a"
    file.write_text(f"---\n{HEAD}    dsn: hunter2-${{time:now}}\n")
    with pytest.raises(InputError, match="a secret that is written out cannot hold a time"):
        expand(sealed, {}, "x")


def test_a_literal_that_cannot_be_replaced_is_refused(tmp_path):
    text = f"{HEAD}    ? dsn\n    : hunter2\n"
    with pytest.raises(InputError, match="cannot be kept off the stage") as caught:
        seal(text, PATHS, f"{tmp_path}/x.yml#1")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "options", ["dsn: hunter2\n    DSN: ${DSN}", "key: {a: hunter2}\n    key: {}"]
)
def test_a_secret_behind_a_key_that_stands_twice_is_refused(options):
    with pytest.raises(InputError, match=r"^x\.yml:7:5: '(dsn|key)' stands twice here") as caught:
        seal(f"{HEAD}    {options}\n", PATHS, "x.yml#1")
    assert "hunter2" not in str(caught.value)


def test_a_reference_that_is_none_is_refused():
    with pytest.raises(InputError, match="not a reference to a secret"):
        expand(f"{HEAD}    dsn: ${{secret:x}}\n", {}, "x")
