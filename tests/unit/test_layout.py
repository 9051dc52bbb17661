"""Where the objects of a run live."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import layout
from contracts.errors import InputError

ANY = st.text(st.characters(), max_size=60)  # lone surrogates too: a name may come from anywhere


@given(ANY)
def test_an_escaped_name_is_one_visible_segment_and_comes_back(name: str) -> None:
    try:
        segment = layout.escape(name)
    except InputError:
        assert len(name.encode("utf-8", "surrogatepass")) * 3 > 200
        return
    assert layout.unescape(segment) == name
    assert segment.isascii()
    assert segment
    assert "/" not in segment
    assert not segment.startswith(".")
    assert len(segment) <= 200


@given(ANY, ANY)
def test_two_names_never_share_a_segment(one: str, two: str) -> None:
    try:
        segments = layout.escape(one), layout.escape(two)
    except InputError:
        return
    assert (segments[0] == segments[1]) == (one == two)


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("aws_ec2_instances", "aws_ec2_instances"),
        ("my-source.v2", "my-source.v2"),
        ("", "%"),
        ("%", "%25"),
        (".", "%2E"),
        ("..", "%2E."),
        ("a/b", "a%2Fb"),
        ("naïve", "na%C3%AFve"),
        ("x" * 200, "x" * 200),
    ],
)
def test_segments_of_known_names_never_change(name: str, segment: str) -> None:
    assert layout.escape(name) == segment


def test_a_name_that_no_file_system_takes_is_refused() -> None:
    with pytest.raises(InputError, match="too long: 201 bytes"):
        layout.escape("x" * 201)


@pytest.mark.parametrize("run", ["", ".", "..", ".hidden", "a/b", "a b", "é", "x" * 101, "a\n"])
def test_a_run_id_that_could_leave_its_place_is_refused(run: str) -> None:
    for key in (layout.run_prefix, layout.cancel, layout.commits, layout.loads):
        with pytest.raises(InputError, match="not a run id"):
            key(run)


@given(st.integers(1, 99), st.integers(0, 9_999_999))
def test_a_shard_id_comes_back(round_: int, number: int) -> None:
    assert layout.parse_shard_id(layout.shard_id(round_, number)) == (round_, number)


@given(st.lists(st.tuples(st.integers(1, 99), st.integers(0, 9_999_999)), max_size=20))
def test_shard_ids_sort_as_the_plan_does(pairs: list[tuple[int, int]]) -> None:
    ids = [layout.shard_id(*pair) for pair in sorted(pairs)]
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    "shard", ["", "1", "01-1", "1-0000001", "01-0000001x", "01-000000²", "٠١-0000001", "x"]
)
def test_what_is_not_a_shard_id_is_refused(shard: str) -> None:
    for use in (layout.parse_shard_id, lambda s: layout.commit("r", s)):
        with pytest.raises(InputError, match="not a shard id"):
            use(shard)


@pytest.mark.parametrize(
    ("key", "place"),
    [
        (lambda: layout.spec("r", 0), "runs/r/spec/0.yml"),
        (lambda: layout.clients("r", "a/b"), "runs/r/clients/a%2Fb.jsonl"),
        (lambda: layout.cursors("r", "d"), "runs/r/cursors/d.json"),
        (lambda: layout.plan_index("r", 1), "runs/r/plan/1/index.json"),
        (lambda: layout.plan_chunk("r", 1, 12), "runs/r/plan/1/00012.jsonl"),
        (
            lambda: layout.attempt("r", "load d s t 1", "x"),
            "runs/r/attempts/load%20d%20s%20t%201/x.json",
        ),
        (
            lambda: layout.part("r", "s", "t", "01-0000000", "x", 3, "parquet"),
            "runs/r/data/s/t/01-0000000/x/00003.parquet",
        ),
        (lambda: layout.commit("r", "01-0000000"), "runs/r/commits/01-0000000.json"),
        (lambda: layout.receipt("r", "d", "s", "t", 2), "runs/r/loads/d/s/t/2.json"),
        (lambda: layout.cancel("r"), "runs/r/cancel.json"),
        (lambda: layout.closed("r", 1), "runs/r/closed/1.json"),
        (lambda: layout.lease("s", "d"), "leases/s/d.json"),
        (lambda: layout.history("s", "t"), "history/s/t.json"),
    ],
)
def test_the_stage_is_laid_out_as_documented(key: Callable[[], str], place: str) -> None:
    assert key() == place


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=20))
def test_no_name_leads_out_of_its_run(name: str) -> None:
    for key in (
        layout.clients("r", name),
        layout.cursors("r", name),
        layout.attempt("r", name, name),
        layout.part("r", name, name, "01-0000000", name, 0, "csv"),
        layout.receipt("r", name, name, name, 1),
    ):
        assert key.startswith("runs/r/")
        assert not {"", ".", ".."} & set(key.split("/"))
