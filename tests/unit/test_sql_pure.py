"""The pure parts of the sql source: literals, windows, slices, exact casts, errors."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import adbc_driver_manager
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import types
from contracts.errors import Denied, NotFound, Permanent, SchemaChanged, Unreachable
from worker.sources import exact
from worker.sources.sql import cursor, slices
from worker.sources.sql.engine import ColumnPlan, Relation, Where, quote, rows_per_batch, select
from worker.sources.sql.failures import TimedOut, redact, translate
from worker.sources.sql.literals import encode, literal


@pytest.mark.parametrize(
    ("scalar", "text", "sql"),
    [
        (pa.scalar(-5), "-5", "-5"),
        (pa.scalar(0.1), "0.1", "CAST('0.1' AS DOUBLE PRECISION)"),
        (pa.scalar("it's"), "it's", "'it''s'"),
        (pa.scalar(date(2024, 2, 29)), "2024-02-29", "DATE '2024-02-29'"),
        (
            pa.scalar(datetime(2024, 1, 1, 1, 2, 3, 4, tzinfo=UTC), types.TIMESTAMP),
            "2024-01-01 01:02:03.000004Z",
            "TIMESTAMPTZ '2024-01-01 01:02:03.000004Z'",
        ),
        (pa.scalar(Decimal("1.50"), pa.decimal128(5, 2)), "1.50", "CAST('1.50' AS NUMERIC(5,2))"),
        (
            pa.scalar(UUID(int=7).bytes, types.UUID),
            "00000000-0000-0000-0000-000000000007",
            "CAST('00000000-0000-0000-0000-000000000007' AS UUID)",
        ),
        (pa.scalar("{}", types.JSON), "{}", "'{}'"),
    ],
)
def test_values_have_one_text_and_one_sql(scalar, text, sql):
    assert encode(scalar) == text
    assert literal(text, scalar.type) == sql


def test_a_literal_that_is_no_value_of_its_type_is_refused():
    with pytest.raises(ValueError, match="invalid literal"):
        literal("1; drop table t", pa.int64())
    with pytest.raises(ValueError, match="badly formed"):
        literal("'; --", types.UUID)


def test_names_are_quoted_and_expressions_have_aliases():
    relation = Relation("s", 'a"b', ())
    column = ColumnPlan("x", 't."x"::text', pa.string())
    assert quote('a"b') == '"a""b"'
    assert select(relation, [column], Where(("a", "b OR c"), "t.x", 3)) == (
        'SELECT t."x"::text AS "x" FROM "s"."a""b" AS t WHERE (a) AND (b OR c) ORDER BY t.x LIMIT 3'
    )


def test_wide_tables_have_shorter_batches():
    assert rows_per_batch(4, at_most=65_536, target_bytes=16 << 20) == 65_536
    assert rows_per_batch(1000, at_most=65_536, target_bytes=16 << 20) == 1024
    assert rows_per_batch(0, at_most=10, target_bytes=1) == 10


@pytest.mark.parametrize(
    ("boundary", "lower", "expected"),
    [
        ("again", None, '(t."c" <= 9) OR t."c" IS NULL'),
        ("again", "5", '(t."c" <= 9 AND t."c" >= 5) OR t."c" IS NULL'),
        ("hold", "5", 't."c" < 9 AND t."c" >= 5'),
        ("once", "5", 't."c" <= 9 AND t."c" > 5'),
    ],
)
def test_the_window_of_each_boundary(boundary, lower, expected):
    window = cursor.Window("c", pa.int64(), boundary, lower, "9")
    assert window.conditions() == [expected]


def test_the_later_cursor_wins_by_value_not_by_text():
    assert cursor.newer("9", "10", pa.int64()) == "10"
    assert cursor.newer("10", "9", pa.int64()) == "10"
    assert cursor.newer("b", "a", pa.string()) == "a"
    assert cursor.newer(None, "1", pa.int64()) == "1"


KEYS = {"id": pa.int64(), "d": pa.date32(), "u": types.UUID}


@given(st.integers(-(1 << 62), 1 << 62), st.integers(0, 1 << 62), st.integers(2, 20))
def test_even_cuts_are_sorted_and_inside(low, width, n):
    cuts = [int(c) for c in slices.even_cuts(str(low), str(low + width), n, pa.int64())]
    assert cuts == sorted(cuts)
    assert all(low <= c <= low + width for c in cuts)


@given(st.lists(st.integers(-100, 100), min_size=1, max_size=8), st.integers(-150, 150))
def test_every_key_is_in_exactly_one_slice(cuts, key):
    bounds = slices.by_key("id", [str(c) for c in cuts], pa.int64())
    hits = [
        b
        for b in bounds
        if (b["from"] is None or key >= int(b["from"])) and (b["to"] is None or key < int(b["to"]))
    ]
    assert len(hits) == 1


def test_slices_as_sql_first_and_last_open_nulls_in_the_first():
    first, second, last = slices.by_key("id", ["10", "20"], pa.int64())
    assert slices.conditions(first, KEYS) == ['t."id" < 10 OR t."id" IS NULL']
    assert slices.conditions(second, KEYS) == ['t."id" >= 10', 't."id" < 20']
    assert slices.conditions(last, KEYS) == ['t."id" >= 20']
    blocks = slices.by_block(10, 2)
    assert [slices.conditions(b, {}) for b in blocks] == [
        ["t.ctid < '(5,0)'::tid"],
        ["t.ctid >= '(5,0)'::tid"],
    ]


@pytest.mark.parametrize("type_", [pa.date32(), types.UUID, pa.int32()])
def test_places_on_the_number_line_have_an_inverse(type_):
    assert slices.can_cut(type_)
    text = slices.at(738_000, type_)
    assert slices.position(text, type_) == 738_000


def test_nothing_to_cut_and_bounds_that_are_not_ours():
    assert slices.by_block(1, 4) == []
    assert slices.by_key("id", [], pa.int64()) == []
    assert not slices.can_cut(pa.string())
    for bad in (
        {"by": "key", "column": "nope", "from": None, "to": "1"},
        {"by": "block", "from": "x; --", "to": None},
        {},
    ):
        with pytest.raises(Permanent, match="not a slice"):
            slices.conditions(bad, KEYS)


class TestExact:
    @pytest.mark.parametrize(
        ("array", "target"),
        [
            (pa.array(["1.255"]), pa.decimal128(5, 2)),
            (pa.array([1.5]), pa.int64()),
            (pa.array([1 << 40]), pa.int32()),
            (pa.array([(1 << 53) + 1]), pa.float64()),
            (pa.array([2]), pa.bool_()),
            (pa.array([1]), pa.string()),
            (pa.array([b"12345"]), types.MAC),
            (pa.array([datetime(2024, 1, 1, tzinfo=UTC)]), pa.timestamp("us")),
            (pa.array([{"a": 1, "b": 2}]), pa.struct([("a", pa.int64())])),
            (pa.array(["not a uuid"]), types.UUID),
        ],
    )
    def test_what_would_lose_something_is_an_error(self, array, target):
        with pytest.raises((ValueError, TypeError)):
            exact.exactly(array, target)

    def test_lists_are_cast_inside_with_nulls_and_slices(self):
        array = pa.array([["1.5"], None, [None, "2"], []]).slice(1)
        target = pa.list_(pa.decimal128(5, 1))
        assert exact.exactly(array, target).to_pylist() == [None, [None, Decimal("2.0")], []]

    def test_structs_are_matched_by_name(self):
        target = pa.struct([("b", pa.int64()), ("a", pa.int64()), ("c", pa.string())])
        array = pa.array([{"a": 1, "b": 2}, None])
        assert exact.exactly(array, target).to_pylist() == [{"b": 2, "a": 1, "c": None}, None]

    def test_delivered_types_are_normalised(self):
        opaque = pa.opaque(pa.string(), "numeric", "PostgreSQL")
        given_ = pa.struct(
            [
                ("d", pa.dictionary(pa.int8(), pa.string())),
                ("l", pa.list_(opaque)),
                ("t", pa.timestamp("us", "Etc/UTC")),
            ]
        )
        want = pa.struct([("d", pa.string()), ("l", pa.list_(pa.string())), ("t", types.TIMESTAMP)])
        assert exact.normalise(given_) == want
        assert exact.normalise(types.UUID) == types.UUID
        assert exact.normalise(pa.list_(pa.int8(), 2)) == pa.list_(pa.int8(), 2)

    def test_names_of_types(self):
        assert exact.named("decimal(10, 2)") == pa.decimal128(10, 2)
        assert exact.named("decimal(40)") == pa.decimal256(40, 0)
        assert exact.named("json") == types.JSON
        with pytest.raises(ValueError, match="there are text"):
            exact.named("decimal(99,1)")


class TestFailures:
    def error(self, text: str, state: str = "") -> Exception:
        status = adbc_driver_manager.AdbcStatusCode.IO
        return adbc_driver_manager.OperationalError(
            text, status_code=status, sqlstate=state or None
        )

    @pytest.mark.parametrize(
        ("text", "state", "kind"),
        [
            ("nope", "28P01", Denied),
            ("nope", "42501", Denied),
            ('FATAL: password authentication failed for user "u"', "", Denied),
            ("nope", "42P01", NotFound),
            ("nope", "42703", SchemaChanged),
            ("nope", "57014", TimedOut),
            ("canceling statement due to statement timeout", "", TimedOut),
            ("FATAL: the database system is starting up", "", Unreachable),
            ("nope", "53300", Unreachable),
            ('invalid snapshot identifier: "x"', "22023", Permanent),
            ("division by zero", "22012", Permanent),
        ],
    )
    def test_states_decide_and_words_otherwise(self, text, state, kind):
        assert type(translate(self.error(text, state), "")) is kind

    def test_what_cannot_be_told_while_connecting_may_be_tried_again(self):
        assert isinstance(translate(self.error("weird"), "", connecting=True), Unreachable)

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://u:p%40ss-word@h/db",
            "host=h password='p@ss-word' user=u",
            "postgresql://h/db?password=p%40ss-word&x=1",
        ],
    )
    def test_passwords_never_reach_a_message(self, url):
        text = redact(f"cannot open {url}: p@ss-word\n", url)
        assert "ss-word" not in text

    def test_queries_are_cut_off(self):
        ours = translate(
            self.error("bad thing\n\nQuery was: select secret. SQLSTATE: 22012", "22012"), ""
        )
        assert ours.message == "bad thing"
