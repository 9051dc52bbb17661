"""Whatever a spec file holds, loading it gives models or an InputError, and never anything else."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from contracts.errors import InputError
from contracts.spec import Destination, Fleet, Source
from contracts.specfile import expand, load, seal, validate
from contracts.specfile.split import blank_comments, comments
from contracts.specfile.yaml11 import YamlError, parse

NOW = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)
HUGE = "9" * 5000

SNIPPETS = st.sampled_from(
    [
        "kind: source\n", "kind: destination\n", "kind: fleet\n", "spec:\n", "  name: a\n",
        "  path: cloudquery/aws\n", "  tables: ['*']\n", "  destinations: [a]\n", "  spec:\n",
        "    k: ${A}\n", "    k: {a: ${UNSET}}\n", "    <<: *x\n", "    b: &x {c: 1}\n", "\n---\n",
        "\n--- # c\n", "--- \n", "# ${NOT}\n", "  version: v1\n", "${file:/nowhere}", "${time:now}",
        "${time:x}", "${time:99999999999 years ago}", "|\n", ">-\n", "'", '"', "[", "]", "{", "}", ": ",
        "- ", "? ", "!!binary ", "!x ", "&a ", "*a ", "%YAML 1.1\n", "\t", "\u2028", "\x85", "\ufeff",
        "0x", "1e999", ".inf", "\x00", "  part_size: ", "  shard_seconds: ", HUGE, "1GiB", "\ue000", "7d",
    ]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=200), st.lists(SNIPPETS, max_size=25).map("".join))


@given(text=TEXTS, value=st.text(max_size=20))
@example(text="[" * 300_000, value="")
@example(text="- " * 100_000, value="")
@example(text="a: &a [*a]", value="")
@example(text="kind: fleet\nspec: {part_size: " + HUGE + "TiB}", value="")
@example(text="kind: fleet\nspec: {keep: " + HUGE + "}", value="")
@example(text="spec: {name: ${A}}", value="\ue0000\ue001")
@example(
    text="kind: destination\nspec: {name: x, path: y, spec: {a: ${B}, b: \ue0007\ue001}}", value=""
)
def test_any_text_gives_a_spec_or_an_input_error(tmp_path, text, value):
    (tmp_path / "s.yml").write_text(text, encoding="utf-8", errors="replace", newline="")
    with suppress(InputError):
        load([tmp_path / "s.yml"], {"A": value}, NOW, relaxed=True)


DOCUMENTS = st.lists(
    st.tuples(
        TEXTS, st.sampled_from(["\n---\n", "\n--- \n", "\n--- # x\n", "\n...\n", "\r\n---\r\n"])
    ),
    min_size=1,
    max_size=5,
).map(lambda pairs: "".join(text + end for text, end in pairs))


@given(texts=st.lists(DOCUMENTS, min_size=1, max_size=3), value=st.text(max_size=20))
def test_a_directory_of_any_documents_gives_a_spec_or_an_input_error(tmp_path, texts, value):
    for old in tmp_path.iterdir():
        old.unlink()
    for n, text in enumerate(texts):
        (tmp_path / f"{n}.yml").write_text(text, encoding="utf-8", errors="replace", newline="")
    with suppress(InputError):
        load([tmp_path], {"A": value}, NOW, relaxed=True)


@example(name="\x00", value="x")
@example(name="A", value="\x00")
@example(name="file:\x00", value="")
@example(name="file:.", value="")
@example(name="time:|", value="")
@given(name=st.text(max_size=30), value=st.text(max_size=40))
def test_any_variable_gives_a_spec_or_an_input_error(tmp_path, name, value):
    text = (
        "kind: source\nspec:\n  name: s\n  path: cloudquery/hackernews\n  tables: ['*']\n  destinations: [d]\n"
        f'  spec: {{a: ${{{name}}}, b: "${{{name}}}"}}\n'
    )
    (tmp_path / "s.yml").write_text(text, encoding="utf-8", errors="replace", newline="")
    with suppress(InputError):
        load([tmp_path / "s.yml"], {name: value}, NOW, relaxed=True)


@given(before=st.binary(max_size=20), after=st.binary(max_size=20))
def test_bytes_that_are_no_utf8_are_told_with_the_file(tmp_path, before, after):
    text = b"kind: source\nspec: {name: '" + before + b"\xff" + after + b"'}\n"
    (tmp_path / "s.yml").write_bytes(text)
    with pytest.raises(InputError, match="not UTF-8 text") as caught:
        load([tmp_path / "s.yml"], {}, NOW)
    assert str(tmp_path / "s.yml") in str(caught.value)


@given(data=st.binary(max_size=60))
def test_any_bytes_give_a_spec_or_an_input_error(tmp_path, data):
    (tmp_path / "s.yml").write_bytes(data)
    with pytest.raises(InputError):
        load([tmp_path / "s.yml"], {}, NOW)


def test_aliases_of_aliases_are_refused_before_they_fill_the_memory():
    lines = ["a0: &a0 [1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    with pytest.raises(YamlError, match="add more than"):
        parse("\n".join(lines))
    merged = ["b0: &b0 {k: 1}"]
    merged += [f"b{i}: &b{i} {{<<: [{', '.join([f'*b{i - 1}'] * 10)}]}}" for i in range(1, 12)]
    with pytest.raises(YamlError, match="add more than"):
        parse("\n".join(merged))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(value=st.dictionaries(st.text(max_size=8), JSON, max_size=4))
def test_yaml_that_pyyaml_writes_is_read_back_whatever_its_quoting(value):
    quoted = parse(yaml.safe_dump(value, default_style='"', allow_unicode=False))
    if not quoted.warnings:  # of keys that differ in their case only
        assert _stringless(quoted.value) == _stringless(value)
    for style in (None, "'", "|"):
        assert parse(yaml.safe_dump(value, default_style=style)).value is not None


def _stringless(value):
    """Without the difference between a number and its quoted text."""
    match value:
        case dict():
            return {k: _stringless(v) for k, v in value.items()}
        case list():
            return [_stringless(v) for v in value]
        case None:
            return None
        case bool():
            return value
        case _:
            return str(value)


@example(value={"\x85#": None}, flow=True)
@given(value=st.dictionaries(st.text(max_size=8), JSON, max_size=4), flow=st.booleans())
def test_blanking_comments_changes_no_value_and_no_offset(value, flow):
    text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True)
    assert list(comments(text)) == []
    commented = "# first ${X}\n" + text.rstrip("\n") + "\n  # last\n"
    blanked = blank_comments(commented)
    assert len(blanked) == len(commented)
    assert blanked.split("\n", 1)[0] == "#" + " " * len(" first ${X}")


SECRET = st.one_of(
    st.text(min_size=1, max_size=30), st.integers(), st.lists(st.text(min_size=1), min_size=1)
)


@example(secret="\xa0", flow=False, style=None)
@given(secret=SECRET, flow=st.booleans(), style=st.sampled_from([None, '"', "'", "|", ">"]))
def test_a_sealed_document_holds_no_secret_and_expands_to_the_same_values(
    tmp_path, secret, flow, style
):
    options = {"before": 1, "secret": secret, "after": ["x"]}
    document = {"kind": "destination", "spec": {"name": "d", "path": "p/d", "spec": options}}
    text = yaml.safe_dump(
        document, default_flow_style=flow, default_style=style, allow_unicode=True
    )
    file = tmp_path / "d.yml"
    file.write_text(text, encoding="utf-8", newline="")
    try:
        loaded = load([file], {}, NOW, relaxed=True)
    except InputError:
        return  # the secret looked like a variable or a document's end
    read = loaded.documents[0]
    sealed = seal(read.text, ["spec.secret"], f"{file}#{read.number}")
    assert "${secret:" in sealed
    assert expand(sealed, {}, "d.yml") == read.model


@given(value=JSON, model=st.sampled_from([Source, Destination, Fleet]))
def test_validation_of_any_value_raises_only_input_errors(value, model):
    with suppress(InputError):
        validate(model, value, _Nowhere())


class _Nowhere:
    def error(self, message, hint, path, *, key=False):
        return InputError(message, hint)
