"""What a transformer's options may say, and how a wrong one is told: file, line, the nearest word."""

from __future__ import annotations

import pytest

from contracts.errors import InputError
from contracts.specfile import expand_document, validate
from loader.transformers import registry
from loader.transformers.basic.options import KINDS


def options(text: str, plugin: str = "basic") -> object:
    body = "\n".join(f"    {line}" for line in text.splitlines())
    written = f"kind: transformer\nspec:\n  name: b\n  path: cloudquery/{plugin}\n  spec:\n{body}\n"
    document = expand_document(written, {}, "spec.yml:1")
    return validate(
        registry.options(plugin), document.model.spec, document, ("spec", "spec"), "transformer 'b'"
    )


def refused(text: str, plugin: str = "basic") -> str:
    with pytest.raises(InputError) as caught:
        options(text, plugin)
    return str(caught.value)


def test_the_documented_example_of_every_kind_is_read():
    options(
        """transformations:
  - {kind: remove_columns, columns: [a], tables: [t]}
  - {kind: rename_column, name: a, value: b}
  - {kind: add_column, name: a, value: b}
  - {kind: add_current_timestamp_column, name: a}
  - {kind: add_primary_keys, columns: [a]}
  - {kind: obfuscate_columns, columns: [a.b.#], include_sha: false}
  - {kind: obfuscate_columns_except, columns: [a], unmatched: collapse}
  - {kind: obfuscate_sensitive_columns}
  - {kind: change_table_names, new_table_name_template: 'cq_{{ .OldName }}'}
  - {kind: uppercase, columns: [a]}
  - {kind: lowercase, columns: [a]}
  - {kind: drop_rows, columns: [a], value: null}"""
    )


def test_every_kind_is_told_in_full():
    assert all(needs.meaning.endswith(".") for needs in KINDS.values())


def test_an_unknown_kind_is_answered_with_the_nearest():
    said = refused("transformations:\n  - {kind: remove_column, columns: [a]}")
    assert "spec.yml:7" in said
    assert "did you mean 'remove_columns'" in said


def test_a_misspelt_field_is_answered_with_the_nearest():
    said = refused("transformations:\n  - kind: remove_columns\n    column: [a]")
    assert "spec.yml:8" in said
    assert "did you mean 'columns'" in said


@pytest.mark.parametrize(
    ("transformation", "expected"),
    [
        ("{kind: remove_columns}", "remove_columns needs `columns`"),
        ("{kind: remove_columns, columns: []}", "remove_columns needs `columns`"),
        ("{kind: rename_column}", "rename_column needs `name` and `value`"),
        ("{kind: add_column, name: a, value: ''}", "add_column needs `value`"),
        ("{kind: change_table_names}", "needs `new_table_name_template`"),
        ("{kind: uppercase, columns: [a], value: x}", "uppercase has no use for `value`"),
        ("{kind: remove_columns, columns: [a], include_sha: false}", "no use for `include_sha`"),
        ("{kind: obfuscate_columns, columns: [a], unmatched: drop}", "no use for `unmatched`"),
        ("{kind: drop_rows, columns: [a..b]}", "empty step"),
        (
            "{kind: change_table_names, new_table_name_template: '{{ printf }}'}",
            "can hold {{.OldName}} and plain text only",
        ),
        ("{kind: obfuscate_columns_except, columns: [a], unmatched: colapse}", "'collapse'"),
        ("{kind: drop_rows, columns: [a], value: 2023}", "put the value in quotes"),
        ("{columns: [a]}", "'transformations.0.kind' of transformer 'b' is missing"),
    ],
)
def test_what_a_kind_needs_and_what_it_has_no_use_for(transformation, expected):
    said = refused(f"transformations:\n  - {transformation}")
    assert expected in said
    assert "spec.yml:" in said


def test_no_transformation_at_all_is_refused():
    assert "must not be empty" in refused("transformations: []")


def test_the_flattener_knows_its_one_option():
    assert options("tables: [a*]", "jsonflattener")
    assert "did you mean 'tables'" in refused("table: [a]", "jsonflattener")


def test_an_unknown_plugin_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="no transformer plugin 'basics'") as caught:
        registry.options("basics")
    assert "did you mean 'basic'?" in caught.value.hint
    assert set(registry.names()) == {"basic", "jsonflattener"}
