"""`_cq_id`: the known vector, the text of keys, and random ids of the right version."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import types
from worker.ids import deterministic_ids, key_text, random_ids


def by_hand(**texts: str) -> uuid.UUID:
    """The same id with the standard library, one row at a time."""
    digest = hashlib.sha256("".join(k + texts[k] for k in sorted(texts)).encode()).digest()
    named = hashlib.sha1(bytes(16) + digest).digest()[:16]
    return uuid.UUID(bytes=named, version=5)


def test_the_known_vector_of_cloudquery():
    batch = pa.record_batch({"test_column": pa.array([3])})
    (found,) = deterministic_ids(batch, ["test_column"]).to_pylist()
    assert found == uuid.UUID("c25355aa-b52c-5b70-a4e0-c9991f5a3b87")


@given(
    st.lists(
        st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.none() | st.integers(-9, 9))
    )
)
def test_ids_of_any_rows_equal_those_made_one_by_one(pairs):
    batch = pa.record_batch(
        {
            "zeta": pa.array([a for a, _ in pairs], pa.string()),
            "alpha": pa.array([b for _, b in pairs], pa.int32()),
        }
    )
    found = deterministic_ids(batch, ["zeta", "alpha"])
    assert found.type == types.UUID
    assert found.to_pylist() == [
        by_hand(zeta=a, alpha="(null)" if b is None else str(b)) for a, b in pairs
    ]


def test_the_order_of_the_key_columns_does_not_matter():
    batch = pa.record_batch({"a": pa.array(["x"]), "b": pa.array([1])})
    assert deterministic_ids(batch, ["a", "b"]).equals(deterministic_ids(batch, ["b", "a"]))


MOMENT = datetime(2026, 5, 4, 3, 2, 1, 999_999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([True, False, None]), ["true", "false", "(null)"]),
        (pa.array([MOMENT], pa.timestamp("us", "UTC")), ["2026-05-04T03:02:01Z"]),
        (pa.array([MOMENT], pa.timestamp("ns", "Asia/Kathmandu")), ["2026-05-04T03:02:01Z"]),
        (pa.array([-500], pa.timestamp("ms")), ["1969-12-31T23:59:59Z"]),
        (pa.array([1.0, 0.1, 1e21, 1.5e-9]), ["1", "0.1", "1000000000000000000000", "0.0000000015"]),
        (pa.array([float("nan"), float("inf"), -float("inf")]), ["NaN", "+Inf", "-Inf"]),
        (pa.array([Decimal("1.50")]), ["1.50"]),
        (pa.array([b"\x00\xff"]), ["00ff"]),
        (random_ids(0), []),
        (pa.array([uuid.UUID(int=1).bytes], types.UUID), ["00000000-0000-0000-0000-000000000001"]),
        (pa.array([[1, 2]]), ["[1,2]"]),
        (pa.array([timedelta(seconds=1)], pa.duration("ms")), ["1000"]),
        (pa.array(["x", None], pa.string_view()), ["x", "(null)"]),
    ],
)  # fmt: skip
def test_key_values_are_printed_as_cloudquery_prints_them(values, texts):
    assert key_text(values).to_pylist() == texts


def test_random_ids_are_of_version_4_and_differ():
    found = random_ids(1000).to_pylist()
    assert len(set(found)) == 1000
    assert {(u.version, u.variant) for u in found} == {(4, uuid.RFC_4122)}
