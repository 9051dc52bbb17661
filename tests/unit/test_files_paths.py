"""Names of files: what is in them, that they stay in place, and that no two things share one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InputError
from loader.warehouses.files.paths import Run, Template, file_uuid, refuse_same_names, segment

RUN = Run("run-1", datetime(2026, 2, 3, 4, 5, tzinfo=UTC), "nightly")


def test_every_placeholder_is_filled():
    text = "{{TABLE}}|{{TABLE_HYPHEN}}|{{FORMAT}}|{{UUID}}|{{SYNC_ID}}|{{YEAR}}{{MONTH}}{{DAY}}{{HOUR}}{{MINUTE}}"
    filled = Template(text, "csv.gz").key("a_b", RUN, "u")
    assert filled == "a_b|a-b|csv.gz|u|nightly|202602030405"


def test_without_a_sync_id_the_run_stands_there():
    assert Template("{{SYNC_ID}}", "csv").key("t", Run("run-1", RUN.at)) == "run-1"


def test_a_uuid_depends_on_run_round_source_table_and_sequence_alone():
    parts = ("run", 1, "src", "t", 0)
    assert file_uuid(*parts) == file_uuid(*parts) == "17ba752b-7f9e-5017-888f-3e91fa599a70"
    others = [("x", 1, "src", "t", 0), ("run", 2, "src", "t", 0), ("run", 1, "x", "t", 0),
              ("run", 1, "src", "x", 0), ("run", 1, "src", "t", 1), ("run", 1, "srct", "", 0)]  # fmt: skip
    assert len({file_uuid(*p) for p in [parts, *others]}) == 7


@pytest.mark.parametrize("name", ["aws_s3_buckets", "A-b.c", "_x", "0", "n" * 150])
def test_a_plain_name_stays(name):
    assert segment(name) == name


@given(st.text(max_size=400))
def test_any_name_is_one_segment_below_its_prefix(name):
    found = segment(name)
    assert found not in {"", ".", ".."}
    assert not found.startswith(".")
    assert "/" not in found
    assert "{" not in found
    assert found.isascii()
    assert found.isprintable()
    assert len(found) <= 150


@given(st.sets(st.text(max_size=8), min_size=2, max_size=20))
def test_two_names_are_two_segments(names):
    assert len({segment(name) for name in names}) == len(names)


@pytest.mark.parametrize(("text", "static"), [
    ("lake/x/{{TABLE}}", "lake/x/"), ("lake/x-{{TABLE}}", "lake/"), ("{{TABLE}}", ""), ("x", ""),
])  # fmt: skip
def test_the_static_directory_is_what_stands_before_the_first_placeholder(text, static):
    assert Template(text, "csv").static == static


def test_two_tables_of_one_name_are_refused_where_names_are_fixed():
    tables = {("a", "t"): "table 't' of a", ("b", "t"): "table 't' of b"}
    with pytest.raises(
        InputError, match="table 't' of a and table 't' of b would be written to one name: x/t"
    ):
        refuse_same_names(Template("x/{{TABLE}}", "csv"), RUN, tables)
    refuse_same_names(Template("x/{{TABLE}}/{{UUID}}", "csv"), RUN, tables)
    refuse_same_names(Template("x/{{TABLE}}", "csv"), RUN, {("a", "t"): "", ("a", "u"): ""})


def test_hyphens_and_capitals_do_not_make_two_tables_one():
    template = Template("{{TABLE_HYPHEN}}", "csv")
    with pytest.raises(InputError):
        refuse_same_names(template, RUN, {("a", "t_u"): "1", ("a", "t-u"): "2"})
    with pytest.raises(InputError):
        refuse_same_names(template, RUN, {("a", "T"): "1", ("a", "t"): "2"})
