"""Table selection, as CloudQuery has it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InputError
from contracts.spec import Source
from contracts.specfile import load
from contracts.table import Column, Table
from sharder.select import narrow, select


def table(name, parent=None):
    return Table(name, (Column("id", pa.string(), primary_key=True),), parent)


TABLES = (
    table("aws_s3_buckets"),
    table("aws_s3_bucket_policies", "aws_s3_buckets"),
    table("aws_s3_bucket_grants", "aws_s3_buckets"),
    table("aws_s3_bucket_grant_notes", "aws_s3_bucket_grants"),
    table("aws_ec2_instances"),
    table("aws_ec2_vpcs"),
)


def spec(**fields):
    return Source(name="aws", path="cloudquery/aws", destinations=("pg",), **fields)


def chosen(tables, **fields):
    found = select(spec(tables=tables, **fields), TABLES)
    return [t.selected for t in found]


def test_an_exact_name_selects_one_table_without_its_children():
    assert chosen(["aws_s3_buckets"]) == [("aws_s3_buckets",)]


def test_a_star_stands_for_any_run_of_characters_anywhere():
    assert chosen(["aws_*_v*s"]) == [("aws_ec2_vpcs",)]
    assert len(chosen(["*"])) == 3


def test_only_the_star_is_special_and_case_counts():
    for pattern in ("aws_ec2_vpc?", "aws_ec2_vpc[s]", "AWS_*", "aws.ec2.vpcs"):
        with pytest.raises(InputError):
            chosen([pattern])


def test_children_come_along_when_dependent_tables_are_not_skipped():
    assert chosen(["aws_s3_buckets"], skip_dependent_tables=False) == [
        tuple(t.name for t in TABLES[:4])
    ]


def test_a_selected_child_brings_its_ancestors_but_not_their_other_children():
    assert chosen(["aws_s3_bucket_grant_notes"]) == [
        ("aws_s3_buckets", "aws_s3_bucket_grants", "aws_s3_bucket_grant_notes")
    ]


def test_a_skipped_table_takes_its_subtree_with_it_even_what_is_listed():
    assert chosen(
        ["aws_s3_buckets", "aws_s3_bucket_policies", "aws_s3_bucket_grant_notes"],
        skip_tables=["aws_s3_bucket_grants"],
    ) == [("aws_s3_buckets", "aws_s3_bucket_policies")]
    assert chosen(["*"], skip_tables=["aws_s3_buckets"]) == [
        ("aws_ec2_instances",), ("aws_ec2_vpcs",),
    ]  # fmt: skip


def test_an_unknown_table_is_named_with_its_place_and_the_nearest_one(tmp_path):
    (tmp_path / "s.yml").write_text(
        "kind: source\nspec:\n  name: aws\n  path: cloudquery/aws\n  destinations: [pg]\n"
        "  tables:\n    - aws_s3_*\n    - aws_ec2_instnces\n"
    )
    loaded = load([tmp_path / "s.yml"], {}, datetime(2026, 1, 1, tzinfo=UTC), relaxed=True)
    with pytest.raises(InputError) as caught:
        select(loaded.spec.sources[0], TABLES, loaded.documents[0])
    assert str(caught.value) == (
        f"{tmp_path}/s.yml:8:7: source 'aws' has no table 'aws_ec2_instnces'\n"
        "  did you mean 'aws_ec2_instances'? `sharder tables aws` lists all 6\n"
        "      8 |     - aws_ec2_instnces"
    )


def test_a_pattern_to_skip_must_match_something_too():
    with pytest.raises(InputError, match=re.escape("no table that matches 'gcp_*'")):
        chosen(["*"], skip_tables=["gcp_*"])


def test_selecting_nothing_is_an_error():
    with pytest.raises(InputError, match="leaves none of the 6 tables"):
        chosen(["aws_ec2_vpcs"], skip_tables=["aws_ec2_*"])


def test_narrowing_keeps_ancestors_and_descendants_within_the_selection():
    found = select(spec(tables=["*"], skip_tables=["aws_s3_bucket_policies"]), TABLES)
    assert [t.selected for t in narrow(found, ["aws_s3_bucket_grants"])] == [
        ("aws_s3_buckets", "aws_s3_bucket_grants", "aws_s3_bucket_grant_notes")
    ]
    assert [t.selected for t in narrow(found, ["aws_ec2_*"])] == [
        ("aws_ec2_instances",), ("aws_ec2_vpcs",),
    ]  # fmt: skip
    assert narrow(found, ["nothing"]) == ()


PARENTS = st.lists(st.integers(-1, 9), min_size=1, max_size=10)


@given(parents=PARENTS, data=st.data(), children=st.booleans())
def test_selection_follows_its_rules_for_every_forest(parents, data, children):
    names = [f"t{i}" for i in range(len(parents))]
    above = {names[i]: names[p] if 0 <= p < i else None for i, p in enumerate(parents)}
    tables = [table(name, parent) for name, parent in above.items()]
    wanted = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    skipped = data.draw(st.lists(st.sampled_from(names), max_size=3, unique=True))
    source = spec(tables=wanted, skip_tables=skipped, skip_dependent_tables=not children)
    try:
        trees = select(source, tables)
    except InputError:
        trees = ()
    found = [name for tree in trees for name in tree.selected]
    assert len(found) == len({*found})

    def lineage(name):
        return [name, *lineage(above[name])] if name else []

    live = [n for n in names if not {*lineage(n)} & {*skipped}]
    direct = {n for n in live if n in wanted or (children and {*lineage(n)} & {*wanted})}
    assert {*found} == {a for n in direct for a in lineage(n)}
    for tree in trees:
        at = {name: i for i, name in enumerate(tree.selected)}
        assert all(t.parent is None or at[t.parent] < at[t.name] for t in tree.tables)
        assert tree.top.parent is None
