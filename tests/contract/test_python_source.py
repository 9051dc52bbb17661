"""A source of somebody else's: the suite, what its errors mean, and how a path finds it."""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal
from uuid import UUID

import pytest
from pydantic import BaseModel

from contracts import types
from contracts.errors import InputError, Permanent, SchemaChanged
from tests.fakes.shop import ORDERS, Options
from tests.suites.source import SourceSuite, context, frozen, read
from worker.sources import python
from worker.sources.base import Cancelled, CellDone, Checkpoint, Rows
from worker.sources.python.author import Chunk, Cursor, SimpleSource, table
from worker.sources.python.rows import Shape

PATH = "tests.fakes.shop:Shop"


def opened(**spec):
    return python.open(PATH, spec, context())


def tree(top="shop_orders"):
    return frozen(opened())[top]


class TestPython(SourceSuite):
    @pytest.fixture
    def source(self):
        with closing(opened()) as source:
            yield source


class TestRows:
    def test_dicts_become_columns_and_what_is_no_column_is_left_out(self):
        reading = read(opened(), tree(), ["north"])
        rows = reading.table(tree()[0]).to_pylist()
        assert [r["id"] for r in rows] == list(range(10))
        assert rows[0]["total"] == Decimal("12.50")
        assert rows[0]["at"].isoformat() == "2026-01-01T00:00:00+00:00"
        assert rows[0]["buyer"] == '{"of":"north"}'
        assert rows[0]["tag"] is None

    def test_children_of_many_parents_arrive_as_one_batch(self):
        reading = read(opened(page=10), tree(), ["north"])
        (lines,) = reading.rows["shop_lines", "north"]
        assert lines.num_rows == 20
        assert len(reading.table(tree()[2])) == 40

    @pytest.mark.parametrize(
        ("type_", "value", "says"),
        [
            ("int64", 1.5, "x of row 1 of a chunk is no int64: 1.5"),
            ("int64", "one", "'one'"),
            ("timestamptz", "yesterday", "'yesterday'"),
            ("uuid", "nope", "'nope'"),
            ("text", 7, "7"),
            ("timestamptz", 1700000000, "1700000000"),
            ({"list": ["i", "int32", True]}, [1, 2.5], "2.5"),
            ("bool", "perhaps", "'perhaps'"),
        ],
    )
    def test_a_value_that_does_not_fit_is_named_with_its_column_and_row(self, type_, value, says):
        type_ = type_ if isinstance(type_, str) else types.decode(type_)
        shape = Shape(table("t", {"x": type_}))
        with pytest.raises(SchemaChanged, match=r"^t: ") as caught:
            shape.batch([{"x": None}, {"x": value}])
        assert says in str(caught.value)

    @pytest.mark.parametrize(
        ("type_", "value", "wanted"),
        [
            ("int64", "12", 12),
            ("decimal(5,1)", "1.5", Decimal("1.5")),
            ("uuid", "00000000-0000-0000-0000-00000000000a", UUID(int=10)),
            ("uuid", UUID(int=10), UUID(int=10)),
            ("json", "text", '"text"'),
            ("json", {"a": [1, 2**70]}, '{"a": [1, 1180591620717411303424]}'),
            ("list", ["a"], None),
        ],
    )
    def test_values_are_read_where_nothing_is_lost(self, type_, value, wanted):
        if type_ == "list":
            with pytest.raises(ValueError, match="no type is called 'list'"):
                table("t", {"x": type_})
            return
        (row,) = Shape(table("t", {"x": type_})).batch([{"x": value}]).to_pylist()
        assert row["x"] == wanted

    @pytest.mark.parametrize("chunk", [{"id": 1}, 5, ["x"], iter([])])
    def test_what_is_no_list_of_rows_is_refused_with_what_to_write(self, chunk):
        with pytest.raises(SchemaChanged, match="yield \\[row\\]"):
            Shape(ORDERS).batch(chunk)


class TestEndings:
    def ends(self, top="shop_orders", **trouble):
        reading = read(opened(trouble=trouble), tree(top), ["north", "south"])
        return {(e.table, e.client): e for e in reading.ends}, reading

    def test_an_http_answer_that_refuses_is_denied_and_the_other_client_is_read(self):
        ends, _ = self.ends(north="denied")
        assert (ends["shop_orders", "north"].outcome, ends["shop_orders", "north"].reason) == ("failed", "denied")  # fmt: skip
        assert ends["shop_lines", "north"].reason == "parent"
        assert ends["shop_orders", "south"].outcome == "ok"

    def test_a_skip_is_no_failure(self):
        ends, _ = self.ends(north="off")
        assert (ends["shop_orders", "north"].outcome, ends["shop_orders", "north"].reason) == ("skipped", "off")  # fmt: skip
        assert ends["shop_taxes", "north"].outcome == "skipped"

    def test_an_exception_says_where_it_was_raised(self):
        ends, _ = self.ends(north="bug")
        message = ends["shop_orders", "north"].message
        assert "KeyError" in message
        assert "shop.py:" in message

    def test_a_child_that_fails_leaves_its_parent_alone_and_ends_once(self):
        ends, reading = self.ends(**{"north/shop_lines": "denied"})
        assert ends["shop_orders", "north"].outcome == "ok"
        assert ends["shop_lines", "north"].reason == "denied"
        assert ends["shop_taxes", "north"].reason == "parent"
        assert len(reading.ends) == 6

    def test_below_an_incremental_table_a_failed_child_holds_the_cursor_back(self):
        ends, reading = self.ends("shop_events", **{"north/late": "bug"})
        assert ends["shop_events", "north"].outcome == "failed"
        assert ends["shop_notes", "north"].outcome == "failed"
        assert reading.cursors["shop_events:north"] == "3"
        assert reading.cursors["shop_events:south"] == "10"


class TestCursors:
    def test_the_children_are_confirmed_before_the_cursor_passes_them(self):
        reading = read(opened(), tree("shop_events"), ["north"])
        tables = [e.table for e in reading.events if isinstance(e, Checkpoint)]
        assert tables == ["shop_notes", "shop_events"] * 4

    def test_the_next_run_goes_on_behind_the_cursor(self):
        top = tree("shop_events")
        first = read(opened(), top, ["north"])
        more = read(opened(orders=12), top, ["north"], cursors=first.cursors)
        assert more.table(top[0])["id"].to_pylist() == [11, 12]

    def test_a_table_that_is_not_declared_incremental_has_no_cursor(self):
        class Plain(SimpleSource[Options]):
            declares = (table("t", {"id": "int64"}),)

            def rows(self, table: str, client: str, cursor: str):
                yield Cursor("1")

        source = Plain({}, context())
        (end,) = read(source, frozen(source)["t"], ["src"]).ends
        assert "cursor=COLUMN" in end.message

    def test_a_cancelled_attempt_stops_at_the_next_chunk(self):
        source = python.open(PATH, {}, context(cancelled=lambda: True))
        with pytest.raises(Cancelled):
            read(source, tree(), ["north"])


def test_a_source_of_arrow_batches_alone_needs_rows_and_tables_only():
    class Numbers(SimpleSource[BaseModel]):
        declares = (table("numbers", {"n": "int64"}),)

        def rows(self, table: str, client: str, cursor: str) -> list[Chunk]:
            return [[{"n": 1}], [{"n": 2}]]

    source = Numbers({}, context("src"))
    reading = read(source, frozen(source)["numbers"], ["src"])
    assert [type(e) for e in reading.events] == [Rows, Rows, CellDone]


@pytest.mark.parametrize(
    ("path", "message", "hint"),
    [
        ("shop", "does not name a source in Python", "path: acme.shop:Shop"),
        ("../shop:Shop", "does not name", "module:factory"),
        ("subprocess:Popen", "is a module of Python itself", "acme.shop"),
        ("tests.fakes.shop:Shopp", "shop.py has no 'Shopp'", "did you mean 'Shop'?"),
        ("tests.fakes.shop:number", "is no factory: it is of type int", "(spec, context)"),
        ("no_such_module_here:Shop", "there is no module 'no_such_module_here'", "PYTHONPATH"),
        ("tests.no_such:Shop", "there is no module 'tests.no_such'", "PYTHONPATH"),
        ("broken:Shop", "SyntaxError", ""),
        ("raises:Shop", "ValueError: x (", ""),
        ("needs:Shop", "needs the module 'httpy'", "install it beside Sharder"),
    ],
)  # fmt: skip
def test_a_path_that_leads_nowhere_says_where_it_was_looked_for(
    path, message, hint, tmp_path, monkeypatch
):
    (tmp_path / "broken.py").write_text("def")
    (tmp_path / "raises.py").write_text("raise ValueError('x')")
    (tmp_path / "needs.py").write_text("import httpy.client")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError) as caught:
        python.open(path, {}, context())
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_module_beside_the_spec_is_not_run_but_the_variable_for_it_is_told(tmp_path, monkeypatch):
    (tmp_path / "mine_alone.py").write_text("raise AssertionError")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [p for p in __import__("sys").path if p])
    with pytest.raises(InputError) as caught:
        python.options("mine_alone:Shop")
    assert f"set PYTHONPATH={tmp_path}" in caught.value.hint


def test_a_machine_may_have_a_list_of_what_it_loads(tmp_path, monkeypatch):
    (tmp_path / "acme.py").write_text("raise AssertionError")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SHARDER_ALLOWED_PLUGINS", "cloudquery/*, python:tests.fakes.*")
    with pytest.raises(Permanent, match="not among the plugins that this machine runs"):
        python.options("acme:Shop")
    assert python.options(PATH) is Options


def test_a_factory_that_makes_no_source_is_told_what_is_lacking():
    with pytest.raises(InputError, match="lacks tables, clients, read, close"):
        python.open("tests.fakes.shop:nothing", {}, context())


def test_options_are_the_factorys_model_or_the_modules_or_anything():
    assert python.options(PATH) is Options
    assert python.options("tests.typing.third_party:Simple").__name__ == "Questions"
    free = python.options("tests.typing.third_party:open")
    assert free.model_validate({"any": {"thing": 1}}).model_dump() == {"any": {"thing": 1}}
