"""YAML as Go's yaml.v2 reads it, and comments as YAML has them."""

from __future__ import annotations

import pytest

from contracts.specfile.scalars import quoted, scalar
from contracts.specfile.split import blank_comments
from contracts.specfile.yaml11 import YamlError, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((t, True) for t in ("y", "Y", "yes", "YES", "on", "On", "true", "TRUE")),
        *((t, False) for t in ("n", "N", "no", "off", "OFF", "false", "False")),
        *((t, None) for t in ("", "~", "null", "NULL")),
        ("0123", 83),
        ("0129", 129),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b101", 5),
        ("-0b1", -1),
        ("+12", 12),
        ("1_000", 1000),
        ("1e3", 1000),
        ("1.5", 1.5),
        (".5", 0.5),
        ("-1.", -1),
        ("9223372036854775807", 2**63 - 1),
        ("18446744073709551615", 2**64 - 1),
        ("1234567890123456789012", 1234567890123456789012.0),
        *((t, t) for t in (
            "2024-01-01", "2001-12-14t21:59:43.10-05:00", "12:30:45", "yEs", "nULL", "1e999", "0x", "0b2",
            "012345678901", "1.2.3", "-", "+", ".", "..", "1,000", "0o8", "１２", "v1", "<<",
        )),
        ("1__", 1),
    ],
)  # fmt: skip
def test_plain_scalars_are_what_they_are_in_go(text, value):
    found, _ = scalar(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("text", "warns"), [("0123", True), ("0129", True), ("012345678901", True), ("0", False), ("0.5", False), ("0o17", False), ("123", False)])  # fmt: skip
def test_a_lost_zero_is_warned_about(text, warns):
    assert bool(scalar(text)[1]) is warns


def test_quotes_and_tags_keep_a_text_a_text():
    text = "a: '012'\nb: \"yes\"\nc: !!str 1\nd: ! 2\ne: !!int '3'\nf: |\n  4\n"
    assert parse(text).value == {"a": "012", "b": "yes", "c": "1", "d": "2", "e": 3, "f": "4\n"}


def test_keys_are_always_text_as_in_json():
    assert parse("{on: 1, 5: 2, ~: 3, n: 4, 2024-01-01: 5, 1.5: 6}").value == {
        "true": 1, "5": 2, "null": 3, "false": 4, "2024-01-01": 5, "1.5": 6,
    }  # fmt: skip


def test_anchors_aliases_and_merge_keys_work():
    text = "base: &b {p: 1, q: 2}\nown: {<<: *b, q: 3}\nmany: {<<: [*b, {z: 4, p: 9}], w: *b}\n"
    assert parse(text).value == {
        "base": {"p": 1, "q": 2},
        "own": {"p": 1, "q": 3},
        "many": {"p": 1, "q": 2, "z": 4, "w": {"p": 1, "q": 2}},
    }
    assert parse(text).warnings == []


def test_the_last_of_two_equal_keys_counts_with_a_warning():
    parsed = parse("a: 1\nb: 2\nA: 3\n")
    assert parsed.value == {"b": 2, "A": 3}
    assert parsed.warnings == [
        ("the key 'A' stands twice in the same mapping; this one counts", 10)
    ]


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        ("a: [1", "not YAML: ", 5),
        ("a: *b", "the anchor 'b' is not defined above it", 3),
        ("a: &b [*b]", "the anchor 'b' contains itself", 7),
        ("a: .inf", "'.inf' is not a number that JSON can hold; quote it", 3),
        ("a: !!binary aGk=", "the tag 'binary' is not supported", 3),
        ("a: !x {b: 1}", "the tag '!x' is not supported", 3),
        ("? [a]\n: 1", "a key must be a plain text", 2),
        ("a: {<<: 1}", "`<<` takes a mapping", 4),
        ("a: \x07", "is not allowed in YAML", 3),
        ("a: 1\n--- {b: 2}", "a second document begins here", 5),
    ],
)
def test_what_is_not_read_is_told_with_its_place(text, message, offset):
    with pytest.raises(YamlError) as caught:
        parse(text)
    assert message in caught.value.message
    assert caught.value.offset == offset


def test_places_of_keys_and_values_are_known():
    text = "a: 1\nB:\n  - c: x\n"
    places = parse(text).places
    assert text[places["b",].key : places["b",].key_end] == "B"
    assert text[places["b", 0, "c"].start : places["b", 0, "c"].stop] == "x"


def test_a_value_is_written_on_one_line_that_reads_back():
    value = {"a": ["x\n\u2028\x85\x7f😀\"'\\ é", 1, None, True]}
    assert "\n" not in quoted(value)
    assert parse(f"k: {quoted(value)}").value == {"k": value}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a: 1 # c", "a: 1"),
        ("# c\na: 1", "#\na: 1"),
        ("a: x#y", "a: x#y"),
        ("a: 'x # y' # c", "a: 'x # y'"),
        ('a: "x \\" # y" # c', 'a: "x \\" # y"'),
        ("a: 'it''s # y' # c", "a: 'it''s # y'"),
        ("a: don't # c", "a: don't"),
        ("a: |  # c\n  # text\n  more\nb: 1 # c", "a: |\n  # text\n  more\nb: 1"),
        ("- |-\n # text\n- >2\n   # text\n- x # c", "- |-\n # text\n- >2\n   # text\n- x"),
        ("- k: |\n    # text\n  l: 1 # c", "- k: |\n    # text\n  l: 1"),
        ("a: &x |\n  # text\nb: !!str |\n  # text", "a: &x |\n  # text\nb: !!str |\n  # text"),
        ("a: b > # c", "a: b >"),
        ("a: [ 'x # y', # c\n  \"z # \n # w\" ] # c", "a: [ 'x # y',\n  \"z # \n # w\" ]"),
        ("a: {b: '# no', c: [d # c\n]}", "a: {b: '# no', c: [d\n]}"),
        ("a: ${file:x #y} # c", "a: ${file:x #y}"),
        ("a: [${B}] # c", "a: [${B}]"),
        ("a: 'x\n  # y\n  ' # c", "a: 'x\n  # y\n  '"),
    ],
)  # fmt: skip
def test_comments_are_found_outside_of_quotes_and_block_scalars(text, kept):
    blanked = blank_comments(text)
    assert len(blanked) == len(text)
    assert [line.rstrip() for line in blanked.strip().split("\n")] == [
        line.rstrip() for line in kept.split("\n")
    ]
