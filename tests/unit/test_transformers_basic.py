"""`cloudquery/basic`, kind by kind."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from hashlib import sha256
from uuid import UUID

import pyarrow as pa
import pytest

from contracts import types
from contracts.errors import InputError, Permanent
from contracts.table import Column, Table
from tests.fakes.transforms import AT, after, basic, batch, one, storage

KEYED = Table(
    "t",
    (
        Column("id", pa.int64(), nullable=False, primary_key=True),
        Column("v", pa.string(), unique=True),
        Column("j", types.JSON),
    ),
)


def keyed(*rows: tuple) -> pa.RecordBatch:
    return batch(KEYED, *zip(*rows, strict=True))


def mark(text: str) -> str:
    return f"Redacted by CloudQuery | {sha256(text.encode()).hexdigest()}"


# Which tables


@pytest.mark.parametrize(
    ("tables", "hit"),
    [
        (["*"], True), ([], True), (["t"], True), (["x", "t"], True), (["*t*"], True),
        (["T"], False), (["t?"], False), (["x*"], False),
    ],
)  # fmt: skip
def test_tables_are_names_in_which_a_star_is_any_characters(tables, hit):
    shown = basic({"kind": "remove_columns", "columns": ["v"], "tables": tables}).show(KEYED, AT)
    assert ("v" not in shown.table) == hit
    assert hit or shown.batch is None


def test_what_comes_after_a_renaming_matches_the_new_name():
    transformer = basic(
        {"kind": "change_table_names", "new_table_name_template": "cq_{{.OldName}}"},
        {"kind": "remove_columns", "columns": ["v"], "tables": ["t"]},
        {"kind": "remove_columns", "columns": ["j"], "tables": ["cq_t"]},
    )
    shown = transformer.show(KEYED, AT)
    assert [c.name for c in shown.table.columns] == ["id", "v"]
    assert shown.table.name == transformer.name("t") == "cq_t"


def test_transformations_build_on_each_other_in_their_order():
    shown = basic(
        {"kind": "add_column", "name": "a", "value": "Ab"},
        {"kind": "rename_column", "name": "a", "value": "b"},
        {"kind": "uppercase", "columns": ["b"]},
        {"kind": "remove_columns", "columns": ["v", "j"]},
    ).show(KEYED, AT)
    assert after(shown, keyed((1, "x", None))) == {"id": [1], "b": ["AB"]}


# Columns


def test_columns_are_removed_and_what_a_table_lacks_is_left_out():
    shown = basic({"kind": "remove_columns", "columns": ["v", "nope"]}).show(KEYED, AT)
    assert after(shown, keyed((1, "x", "{}"))) == {"id": [1], "j": ["{}"]}
    assert shown.warnings == ()


def test_a_column_that_a_named_table_lacks_is_warned_about():
    for kind in ("remove_columns", "uppercase", "drop_rows"):
        shown = basic({"kind": kind, "columns": ["nope"], "tables": ["t"]}).show(KEYED, AT)
        assert shown.warnings == (f"{kind}: table 't' has no column 'nope'",)
        assert shown.table == KEYED
    renaming = {"kind": "rename_column", "name": "nope", "value": "x", "tables": ["t"]}
    assert basic(renaming).show(KEYED, AT).warnings


def test_a_column_that_was_to_be_hidden_and_is_not_there_is_an_error():
    hiding = {"kind": "obfuscate_columns", "columns": ["idd"], "tables": ["t"]}
    with pytest.raises(InputError, match="no column 'idd'"):
        basic(hiding).show(KEYED, AT)


def test_no_table_is_left_without_a_column():
    with pytest.raises(InputError, match="without a column"):
        basic({"kind": "remove_columns", "columns": ["id", "v", "j"]}).show(KEYED, AT)


def test_paths_are_removed_from_json():
    shown = basic(
        {"kind": "remove_columns", "columns": ["j.a.0", "j.a.1", r"j.x\.y", "j.list.#.s"]}
    ).show(KEYED, AT)
    given = '{"a":[1,2,3],"x.y":1,"list":[{"s":1,"k":2},{"s":3}],"keep":9007199254740993123456}'
    found = after(shown, keyed((1, "x", given), (2, "x", None), (3, "x", "no json")))
    assert found["j"] == [
        '{"a":[3],"list":[{"k":2},{}],"keep":9007199254740993123456}',
        None,
        "no json",
    ]


def test_a_path_into_a_column_that_is_no_json_is_refused():
    with pytest.raises(InputError, match=r"'v\.a' is a path into column 'v' of table 't'"):
        basic({"kind": "remove_columns", "columns": ["v.a"]}).show(KEYED, AT)


def test_a_column_with_a_dot_in_its_name_is_found_by_it():
    table = Table("t", (Column("a.b", pa.string()), Column("c", pa.int64())))
    shown = basic({"kind": "remove_columns", "columns": ["a.b"]}).show(table, AT)
    assert [c.name for c in shown.table.columns] == ["c"]


def test_a_renamed_column_stays_a_key():
    shown = basic({"kind": "rename_column", "name": "id", "value": "nr"}).show(KEYED, AT)
    assert shown.table.primary_key == ("nr",)
    assert after(shown, keyed((1, "x", None)))["nr"] == [1]


@pytest.mark.parametrize(
    "transformation",
    [
        {"kind": "rename_column", "name": "v", "value": "id"},
        {"kind": "add_column", "name": "id", "value": "x"},
        {"kind": "add_current_timestamp_column", "name": "id"},
    ],
)
def test_a_name_that_is_taken_is_refused(transformation):
    with pytest.raises(InputError, match="has a column 'id' already"):
        basic(transformation).show(KEYED, AT)


def test_a_column_renamed_to_itself_is_the_same():
    shown = basic({"kind": "rename_column", "name": "v", "value": "v"}).show(KEYED, AT)
    assert (shown.table, shown.batch) == (KEYED, None)


def test_a_text_column_is_added_last_with_its_value_in_every_row():
    shown = basic({"kind": "add_column", "name": "team", "value": "plätform"}).show(KEYED, AT)
    assert shown.table.columns[-1] == Column("team", pa.string(), nullable=False)
    assert after(shown, keyed((1, "x", None), (2, "y", None)))["team"] == ["plätform"] * 2


def test_the_time_is_that_of_the_load_in_every_row():
    shown = basic({"kind": "add_current_timestamp_column", "name": "at"}).show(KEYED, AT)
    assert shown.table.column("at").type == types.TIMESTAMP
    assert after(shown, keyed((1, "x", None), (2, "y", None)))["at"] == [AT, AT]


def test_keys_are_added_and_nothing_is_unique_by_itself_any_more():
    shown = basic({"kind": "add_primary_keys", "columns": ["v"]}).show(KEYED, AT)
    assert shown.table.primary_key == ("id", "v")
    assert not any(c.unique for c in shown.table.columns)
    with pytest.raises(Permanent, match="column 'v' of table 't' is null in some rows"):
        after(shown, keyed((1, None, None)))


def test_a_key_needs_its_column():
    with pytest.raises(InputError, match="no column 'nope'") as caught:
        basic({"kind": "add_primary_keys", "columns": ["nope"]}).show(KEYED, AT)
    assert "id, v, j" in caught.value.hint


# Hiding


@pytest.mark.parametrize(
    "type_",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())],
    ids=str,
)
def test_text_of_every_layout_is_replaced_by_a_marker_with_its_hash(type_):
    table = one("v", type_)
    given = batch(table, pa.array(["a", None, "ü", "a"]).cast(type_))
    shown = basic({"kind": "obfuscate_columns", "columns": ["v"]}).show(table, AT)
    assert after(shown, given) == {"v": [mark("a"), None, mark("ü"), mark("a")]}


@pytest.mark.parametrize("type_", [pa.binary(), pa.large_binary(), pa.binary_view()], ids=str)
def test_binary_of_every_layout_too(type_):
    table = one("v", type_)
    shown = basic({"kind": "obfuscate_columns", "columns": ["v"]}).show(table, AT)
    assert after(shown, batch(table, [b"a", None])) == {"v": [mark("a").encode(), None]}


def test_the_marker_can_be_without_the_hash():
    shown = basic({"kind": "obfuscate_columns", "columns": ["v", "j"], "include_sha": False}).show(
        KEYED, AT
    )
    found = after(shown, keyed((1, "a", "{}"), (2, None, None)))
    assert found["v"] == ["Redacted by CloudQuery", None]
    assert found["j"] == ['{"redacted_by_cloudquery":"Redacted by CloudQuery"}', None]


def test_a_whole_json_column_stays_json():
    shown = basic({"kind": "obfuscate_columns", "columns": ["j", "j.a"]}).show(KEYED, AT)
    digest = sha256(b'{"a":1}').hexdigest()
    found = after(shown, keyed((1, "a", '{"a":1}')))
    assert found["j"] == [f'{{"redacted_by_cloudquery":"{digest}"}}']


@pytest.mark.parametrize(
    ("given", "hidden"),
    [
        ('{"a":"x","b":"y"}', {"a": mark('"x"'), "b": "y"}),
        ('{"a":{"deep":true}}', {"a": mark('{"deep":true}')}),
        ('{"a": 1.5}', {"a": mark("1.5")}),
        ('{"a":null}', {"a": None}),
        ('{"l":[{"s":1},{"s":"z","k":0}]}', {"l": [{"s": mark("1")}, {"s": mark('"z"'), "k": 0}]}),
        ("[1]", [1]),
    ],
)
def test_what_a_path_names_is_hidden_whatever_it_is(given, hidden):
    shown = basic({"kind": "obfuscate_columns", "columns": ["j.a", "j.l.#.s"]}).show(KEYED, AT)
    assert json.loads(after(shown, keyed((1, "", given)))["j"][0]) == hidden


def test_a_text_in_which_no_path_can_be_looked_for_is_hidden_whole():
    shown = basic({"kind": "obfuscate_columns", "columns": ["j.a"]}).show(KEYED, AT)
    digest = sha256(b"{a: secret}").hexdigest()
    found = after(shown, keyed((1, "", "{a: secret}")))
    assert found["j"] == [f'{{"redacted_by_cloudquery":"{digest}"}}']


def test_a_column_that_cannot_hold_a_marker_is_not_shown_as_it_is():
    with pytest.raises(InputError, match="column 'id' of table 't' is int64") as caught:
        basic({"kind": "obfuscate_columns", "columns": ["id"]}).show(KEYED, AT)
    assert "remove_columns" in caught.value.hint


def test_what_the_source_calls_sensitive_is_hidden():
    table = Table("t", (Column("a", pa.string(), sensitive=True), Column("b", pa.string())))
    shown = basic({"kind": "obfuscate_sensitive_columns"}).show(table, AT)
    assert after(shown, batch(table, ["x"], ["y"])) == {"a": [mark("x")], "b": ["y"]}
    assert shown.warnings == ()


def test_a_source_that_calls_nothing_sensitive_is_warned_about():
    assert (
        "stay as they are"
        in basic({"kind": "obfuscate_sensitive_columns"}).show(KEYED, AT).warnings[0]
    )


# All but a list


WIDE = Table(
    "t",
    (
        Column("_cq_id", types.UUID, nullable=False),
        Column("id", pa.string(), primary_key=True),
        Column("n", pa.int64()),
        Column("v", pa.string()),
        Column("j", types.JSON),
        Column("k", types.JSON),
    ),
)
NESTED = '{"c":[{"image":"i","env":{"A":"1"}},{"image":"k"}],"x":{"y":2},"z":null}'


def except_(**kwargs: object) -> dict:
    """What is left of one row."""
    options = {"kind": "obfuscate_columns_except", "columns": ["id", "j.c.#.image"], **kwargs}
    shown = basic(options).show(WIDE, AT)
    row = [UUID(int=1).bytes], ["1"], [7], ["v"], [NESTED], ['{"a":[1]}']
    return {name: found[0] for name, found in after(shown, batch(WIDE, *row)).items()}


def test_what_is_not_on_the_list_is_dropped():
    assert except_() == {
        "_cq_id": UUID(int=1),
        "id": "1",
        "j": '{"c":[{"image":"i"},{"image":"k"}]}',
    }


def test_what_is_not_on_the_list_collapses_into_markers():
    env, x = mark('{"A":"1"}'), mark('{"y":2}')
    digest = sha256(b'{"a":[1]}').hexdigest()
    assert except_(unmatched="collapse") == {
        "_cq_id": UUID(int=1),
        "id": "1",
        "v": mark("v"),
        "j": f'{{"c":[{{"image":"i","env":"{env}"}},{{"image":"k"}}],"x":"{x}","z":null}}',
        "k": f'{{"redacted_by_cloudquery":"{digest}"}}',
    }


def test_every_value_that_is_not_on_the_list_gets_a_marker():
    found = except_(unmatched="redact", include_sha=False)
    r = "Redacted by CloudQuery"
    assert found == {
        "_cq_id": UUID(int=1),
        "id": "1",
        "v": r,
        "j": f'{{"c":[{{"image":"i","env":{{"A":"{r}"}}}},{{"image":"k"}}],"x":{{"y":"{r}"}},"z":null}}',
        "k": f'{{"a":["{r}"]}}',
    }


def test_a_list_that_names_a_column_which_is_not_there_is_refused():
    with pytest.raises(InputError, match="table 't' has no column 'nope'"):
        except_(columns=["id", "nope"])


def test_a_text_that_is_no_json_is_hidden_whole():
    shown = basic({"kind": "obfuscate_columns_except", "columns": ["j.a"]}).show(KEYED, AT)
    assert "secret" not in after(shown, keyed((1, "", "secret {")))["j"][0]


def test_a_list_of_nothing_that_is_there_leaves_no_table():
    table = one("n", pa.int64())
    with pytest.raises(InputError, match="without a column"):
        basic(
            {"kind": "obfuscate_columns_except", "columns": ["n.a"], "tables": ["x"]},
            {"kind": "add_column", "name": "a", "value": "b"},
            {"kind": "obfuscate_columns_except", "columns": ["a"]},
            {"kind": "remove_columns", "columns": ["a"]},
        ).show(table, AT)


# Case


def test_text_changes_its_case_in_columns_in_json_and_at_paths():
    shown = basic(
        {"kind": "uppercase", "columns": ["v", "j.a"]}, {"kind": "lowercase", "columns": ["j.b"]}
    ).show(KEYED, AT)
    found = after(shown, keyed((1, "straße", '{"a":["x",1],"b":"Y","c":"z"}'), (2, None, None)))
    assert found["v"] == ["STRASSE", None] or found["v"] == ["STRAẞE", None]
    assert found["j"] == ['{"a":["X",1],"b":"y","c":"z"}', None]


def test_a_whole_json_column_changes_its_texts_and_keeps_its_keys():
    shown = basic({"kind": "uppercase", "columns": ["j"]}).show(KEYED, AT)
    assert after(shown, keyed((1, "", '{"a":"x"}')))["j"] == ['{"a":"X"}']


def test_a_number_has_no_capitals():
    with pytest.raises(InputError, match="column 'id' of table 't' is int64"):
        basic({"kind": "lowercase", "columns": ["id"]}).show(KEYED, AT)


# Rows


def test_rows_go_in_which_one_of_the_columns_has_the_value():
    shown = basic({"kind": "drop_rows", "columns": ["id", "v"], "value": "2"}).show(KEYED, AT)
    assert shown.filters
    found = after(shown, keyed((1, "x", None), (2, "x", None), (3, "2", None), (4, None, None)))
    assert found["id"] == [1, 4]


def test_without_a_value_rows_go_in_which_one_of_the_columns_is_null():
    shown = basic({"kind": "drop_rows", "columns": ["v", "j"]}).show(KEYED, AT)
    found = after(shown, keyed((1, "x", "{}"), (2, None, "{}"), (3, "x", None)))
    assert found["id"] == [1]


@pytest.mark.parametrize(
    ("type_", "values", "value", "left"),
    [
        (pa.bool_(), [True, False, None], "true", [False, None]),
        (pa.float64(), [1.5, 2.0], "1.5", [2.0]),
        (pa.uint64(), [2**64 - 1, 1], str(2**64 - 1), [1]),
        (pa.date32(), [date(2026, 1, 2), date(2026, 1, 3)], "2026-01-02", [date(2026, 1, 3)]),
        (
            types.TIMESTAMP,
            [datetime(2026, 1, 2, tzinfo=UTC), None],
            "2026-01-02T00:00:00.000000Z",
            [None],
        ),
        (types.UUID, [UUID(int=1).bytes, None], str(UUID(int=1)), [None]),
        (types.INET, ["10.0.0.0/8", "::1"], "::1", ["10.0.0.0/8"]),
        (pa.string_view(), ["a", "b"], "a", ["b"]),
        (pa.string_view(), ["a"], "a", []),
        (types.JSON, ['{"a": 1, "b": 2}', '{"a":1}'], '{"b":2,"a":1}', ['{"a":1}']),
        (types.JSON, ["no json", "1"], "no json", ["1"]),
        (pa.dictionary(pa.int8(), pa.string()), ["a", "b", None], "a", ["b", None]),
    ],
    ids=str,
)
def test_a_value_is_read_as_the_type_of_the_column(type_, values, value, left):
    table = one("c", type_)
    dictionary = pa.types.is_dictionary(type_)
    given = pa.array(values).cast(type_) if dictionary else storage(values, type_)
    shown = basic({"kind": "drop_rows", "columns": ["c"], "value": value}).show(table, AT)
    assert after(shown, batch(table, given)) == {"c": left}


def test_a_value_that_no_row_can_have_is_warned_about():
    shown = basic({"kind": "drop_rows", "columns": ["id"], "value": "x", "tables": ["t"]}).show(
        KEYED, AT
    )
    assert (shown.batch, shown.filters) == (None, False)
    assert "no int64 is 'x'" in shown.warnings[0]


def test_a_list_is_compared_with_nothing_but_null():
    table = one("c", pa.list_(pa.int64()))
    with pytest.raises(InputError, match="a single value or by null only"):
        basic({"kind": "drop_rows", "columns": ["c"], "value": "[1]"}).show(table, AT)
    shown = basic({"kind": "drop_rows", "columns": ["c"]}).show(table, AT)
    assert after(shown, batch(table, [[1], None])) == {"c": [[1]]}
