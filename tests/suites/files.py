"""What every destination of files must do, beyond what every warehouse must: names, repetition, rounds, deaths.

A binding gives a `store` fixture (the place as a Store, to look into), `base` (the nested options that lead
there) and `prefix` (where in the store the path of the options begins).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from contracts import types
from contracts.queue import Message
from contracts.store import Store
from contracts.table import Column
from loader import cache
from loader.cache import Warehouses
from loader.documents import OpenDestination
from loader.prepare import prepare
from loader.warehouses.files.paths import Run, Template
from tests.fakes.files import objects, rows_of
from tests.fakes.mortal import dies, doomed_run
from tests.fakes.stage import NOW, Bad, Good, StageRun, rows, shard, table
from tests.suites.loads import LoadsSuite, days

ONE_NAME = {"no_rotate": True}
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "parquet": {"format": "parquet"},
    "csv": {"format": "csv"},
    "json": {"format": "json"},
    "csv.gz": {"format": "csv", "compression": "gzip"},
    "json.gz": {"format": "json", "compression": "gzip"},
}


@dataclass(frozen=True)
class FilesPlace:
    """`under` is where the files lie in the store: all that the path of `spec` names."""

    path: str
    store: Store
    spec: Mapping[str, Any]
    under: str

    def objects(self) -> dict[str, bytes]:
        return objects(self.store, self.under)

    def rows(self) -> list[dict[str, Any]]:
        return rows_of(self.objects())


class FilesSuite(LoadsSuite):
    plugin: str
    formats: tuple[str, ...] = tuple(OPTIONS)

    def ids(self, place: FilesPlace) -> list[int]:
        return sorted(int(row["id"]) for row in place.rows())

    @pytest.fixture
    def make(self, store: Store, base: Mapping[str, Any], prefix: str) -> Any:
        """`make(format, template, …options)`: a place whose path is the prefix and the template."""

        def place(format_: str, template: str = "", under: str = "lake/", **options: Any) -> Any:
            path = f"{prefix}{under}{template}".rstrip("/")
            spec = {**base, **OPTIONS[format_], "path": path, **options}
            inside = under if prefix.startswith("/") else f"{prefix}{under}"
            return FilesPlace(f"cloudquery/{self.plugin}", store, spec, inside)

        return place

    @pytest.fixture
    def place(self, make: Any) -> FilesPlace:
        return make(self.formats[0])

    @pytest.fixture
    def run_into(self, tmp_path: Path) -> Any:
        """`run_into(place, day, *tree, …)`"""

        def begin(
            place: FilesPlace, day: int, *tree: Any, stage: str = "stage", **kwargs: Any
        ) -> Any:
            return StageRun(
                tmp_path / stage, *tree, spec=place.spec, path=place.path,
                run=kwargs.pop("run", f"run-{day}"), sync_time=days(day), **kwargs,
            )  # fmt: skip

        return begin

    # Formats

    def test_every_format_holds_the_rows_under_its_own_name(self, make, run_into):
        for format_ in self.formats:
            place = make(format_, under=f"{format_}/")
            run = run_into(place, 0, stage=f"stage-{format_}")
            run.round([shard({"a": rows(1, 2, v='ü, "x"\n')})])
            assert run.load().error == ""
            (key,) = place.objects()
            assert key.startswith(f"{place.under}items.{format_}.")
            assert [row["v"] for row in place.rows()] == ['ü, "x"\n1', 'ü, "x"\n2']
            assert {row["_cq_client_id"] for row in place.rows()} == {"a"}

    # Names and repetition

    def test_files_are_cut_by_rows_and_named_by_their_place_in_the_load(self, make, run_into):
        names = []
        for _ in range(2):
            place = make(self.formats[0], batch_size=2)
            run = run_into(place, 0)
            run.round([shard({"a": rows(1, 2, 3)}), shard({"b": rows(4, 5)})])
            assert run.load().published == 5
            run.stage.store.delete(["runs/run-0/loads/w/src/items/1.json"])
            assert sorted(len(rows_of({k: v})) for k, v in place.objects().items()) == [1, 2, 2]
            names.append(place.objects())
        assert names[0] == names[1]

    def test_a_later_round_adds_files_and_touches_none(self, place, run_into):
        run = run_into(place, 0)
        run.round([shard({"a": rows(1), "b": Bad()})])
        run.load()
        before = place.objects()
        run.round([shard({"b": rows(2)})], number=2, authoritative=False)
        assert run.load(2).rounds == (2,)
        after = place.objects()
        assert before.items() < after.items()
        assert self.ids(place) == [1, 2]

    def test_two_runs_keep_their_files_apart(self, place, run_into):
        for day in (0, 1):
            run = run_into(place, day)
            run.round([shard({"a": rows(1)})])
            run.load()
        assert len(place.objects()) == 2

    def test_a_table_without_rows_has_no_file(self, place, run_into):
        run = run_into(place, 0)
        run.round([shard({"a": ()})])
        assert run.load().outcome == "ok"
        assert place.objects() == {}

    def test_placeholders_are_those_of_the_run(self, make, run_into):
        template = "{{TABLE}}/{{YEAR}}-{{MONTH}}/{{DAY}}/{{HOUR}}{{MINUTE}}/{{SYNC_ID}}/{{UUID}}.{{FORMAT}}"
        place = make(self.formats[0], template)
        run = run_into(place, 31)
        run.round([shard({"a": rows(1)})])
        run.load()
        (key,) = place.objects()
        assert key.startswith(f"{place.under}items/2026-02/01/0000/run-31/")

    @pytest.mark.parametrize("name", [
        "..", ".", "../../x", "/etc/x", "a\0b", "żółć 🦆", "n" * 300, "", "a//b", "{{UUID}}", ".hidden", "a\\b", "a%2Fb",
    ])  # fmt: skip
    def test_a_hostile_name_stays_below_its_prefix(self, make, name):
        # The stage refuses most of these itself; the destination must not rely on it.
        place = make(self.formats[0])
        before = {*objects(place.store)}
        template = Template(f"{place.under}{{{{TABLE}}}}/x.{{{{UUID}}}}.json", "json")
        key = template.key_of(Run("run-0", NOW), 1, "src", name, 0)
        parts = key.removeprefix(place.under).split("/")
        assert len(parts) == 2
        assert not {*parts} & {"", ".", ".."}
        assert all(len(p.encode()) <= 255 and p.isascii() for p in parts)
        place.store.put(key, b"1")
        assert {*objects(place.store)} - before == {key}

    # Failures

    def test_a_load_that_fails_for_good_leaves_no_file(self, make, run_into):
        place = make(self.formats[0], batch_size=1)
        run = run_into(place, 0)
        run.round([shard({"a": rows(1, 2)}), shard({"b": rows(3)})])
        key = run.stage.commit("run-0", "01-0000001").parts[0].key
        run.stage.store.delete([key])
        receipt = run.load()
        assert (receipt.outcome, place.objects()) == ("failed", {})
        assert key in receipt.error

    def test_the_next_round_removes_what_a_failed_load_left_and_loads_it_all(self, make, run_into):
        place = make(self.formats[0], batch_size=1)
        run = run_into(place, 0)
        run.round([shard({"a": rows(1, 2), "b": Bad()})])
        run.load()  # it wrote, and died before its receipt
        run.stage.store.delete(["runs/run-0/loads/w/src/items/1.json"])
        run.round([shard({"b": rows(3)})], number=2, authoritative=False)
        assert run.load(2).rounds == (1, 2)
        assert self.ids(place) == [1, 2, 3]
        assert len(place.objects()) == 3

    def test_a_failed_load_that_could_not_clean_up_doubles_nothing(self, make, run_into):
        place = make(self.formats[0], batch_size=1)
        run = run_into(place, 0)
        run.round([shard({"a": rows(1, 2), "b": Bad()})])
        done = run.load()
        failed = done.model_copy(update={"outcome": "failed"})
        run.stage.store.put("runs/run-0/loads/w/src/items/1.json", failed.to_bytes())
        run.round([shard({"b": rows(3)})], number=2, authoritative=False)
        assert run.load(2).rounds == (1, 2)
        assert self.ids(place) == [1, 2, 3]

    def test_a_load_that_a_later_round_took_over_leaves_nothing(self, place, run_into):
        """Round 1 is still being written when round 2, which covers it, is done."""
        run = run_into(place, 0)
        run.round([shard({"a": rows(1), "b": Bad()})])
        run.round([shard({"b": rows(2)})], number=2, authoritative=False)
        later = copy(run)
        run.warehouses = _hooked(lambda: later.load(2))
        assert run.load(1).outcome == "failed"
        assert self.ids(place) == [1, 2]

    def test_a_newer_run_that_came_while_rows_were_read_keeps_its_file(self, make, run_into):
        place = make(self.formats[0], "{{TABLE}}.{{FORMAT}}", **ONE_NAME)
        old, new = run_into(place, 0), run_into(place, 1)
        old.round([shard({"a": rows(1)})])
        new.round([shard({"a": rows(2)})])
        old.warehouses = _hooked(new.load, at="_batches")
        receipt = old.load()
        assert receipt.outcome == "failed"
        assert "run-1" in receipt.error
        assert self.ids(place) == [2]

    @pytest.mark.slow
    @pytest.mark.timeout(600)
    @pytest.mark.parametrize("whole", [False, True])
    def test_a_loader_killed_after_any_write_and_started_again_writes_the_same_files(
        self, make, tmp_path, whole
    ):
        options = {**ONE_NAME} if whole else {"batch_size": 1}
        state = "cq_state" if whole else ""
        died, n = True, 0
        while died:
            n += 1
            templates = (f"{n:03d}/{{{{TABLE}}}}.{{{{FORMAT}}}}", "") if whole else (f"{n:03d}", "")
            place = make(self.formats[0], templates[0], **options)
            control = make(self.formats[0], templates[0], under="control/", **options)
            given = {"write_mode": "append", "state": state}
            run = doomed_run(tmp_path / "stage", place.path, place.spec, n, **given)
            died = dies(tmp_path / "stage", place.path, place.spec, n, **given)
            receipt = run.load()
            assert receipt.error == "", f"killed after write {n}"
            doomed_run(tmp_path / "control", control.path, control.spec, n, **given).load()
            expected = {
                k.removeprefix("control/").removeprefix(control.under): v
                for k, v in control.objects().items()
            }
            found = {k.removeprefix(place.under): v for k, v in place.objects().items()}
            assert found == expected, f"killed after write {n}"
        assert n > 5

    # One name per table

    def test_one_name_holds_every_round_of_the_newest_run(self, make, run_into):
        place = make(self.formats[0], "{{TABLE}}.{{FORMAT}}", **ONE_NAME)
        for day in (0, 1):
            run = run_into(place, day)
            run.round([shard({"a": rows(1 + 10 * day), "b": Bad()})])
            run.load()
            run.round([shard({"b": rows(2 + 10 * day)})], number=2, authoritative=False)
            assert run.load(2).rounds == (1, 2)
            assert self.ids(place) == [1 + 10 * day, 2 + 10 * day]
        assert [*place.objects()] == [f"{place.under}items.{self.formats[0]}"]

    def test_without_a_uuid_no_round_writes_over_another(self, make, run_into):
        none = {"batch_size": 0, "batch_size_bytes": 0, "batch_timeout": 0}
        place = make(self.formats[0], "{{TABLE}}/{{SYNC_ID}}.{{FORMAT}}", **none)
        run = run_into(place, 0)
        run.round([shard({"a": rows(1), "b": Bad()})])
        run.load()
        run.round([shard({"b": rows(2)})], number=2, authoritative=False)
        run.load(2)
        assert self.ids(place) == [1, 2]
        assert len(place.objects()) == 1

    def test_an_older_run_does_not_write_over_a_newer_one(self, make, run_into):
        place = make(self.formats[0], "{{TABLE}}.{{FORMAT}}", **ONE_NAME)
        old, new = run_into(place, 0), run_into(place, 1)
        old.round([shard({"a": rows(1)})])
        new.round([shard({"a": rows(2)})])
        new.load()
        receipt = old.load()
        assert receipt.outcome == "failed"
        assert "run-1" in receipt.error
        assert self.ids(place) == [2]

    def test_a_run_of_which_nothing_ended_ok_leaves_the_file(self, make, run_into):
        place = make(self.formats[0], "{{TABLE}}.{{FORMAT}}", **ONE_NAME)
        for day, cell in ((0, rows(1)), (1, Bad())):
            run = run_into(place, day)
            run.round([shard({"a": cell})])
            receipt = run.load()
        assert self.ids(place) == [1]
        run = run_into(place, 2)
        run.round([shard({"a": rows(3), "b": Bad()})])
        receipt = run.load()
        assert "1 cells that did not end ok" in receipt.warnings[0]
        assert self.ids(place) == [3]

    def test_a_table_that_has_no_rows_any_more_has_an_empty_file(self, make, run_into):
        place = make(self.formats[0], "{{TABLE}}.{{FORMAT}}", **ONE_NAME)
        for day, cell in ((0, rows(1)), (1, ())):
            run = run_into(place, day)
            run.round([shard({"a": cell})])
            run.load()
        assert place.rows() == []
        assert len(place.objects()) == 1

    def test_two_sources_of_one_name_are_refused_before_anything_is_written(self, make, run_into):
        place = make(self.formats[0], "{{TABLE}}.{{FORMAT}}", **ONE_NAME)
        run = run_into(place, 0)
        run.round([shard({"a": rows(1)})])
        plan = run.stage.plan("run-0", 1)
        other = plan.sources[0].model_copy(update={"name": "other"})
        ours = plan.tables[0]
        theirs = ours.model_copy(update={"source": "other", "first": ours.shards})
        both = {
            "sources": (*plan.sources, other), "tables": (ours, theirs), "shards": 2 * plan.shards,
        }  # fmt: skip
        run.stage.store.put("runs/run-0/plan/1/index.json", plan.model_copy(update=both).to_bytes())
        run.stage.plan.cache_clear()
        receipt = run.load()
        assert receipt.outcome == "failed"
        assert "of source 'src'" in receipt.error
        assert "of source 'other'" in receipt.error
        assert place.objects() == {}

    # State

    @pytest.mark.parametrize("format_", OPTIONS)
    def test_cursors_are_written_and_read_back(self, make, run_into, format_):
        if format_ not in self.formats:
            pytest.skip("this plugin has no such format")
        place = make(format_, "{{TABLE}}.{{FORMAT}}", **ONE_NAME)
        for day, value in ((0, "1"), (1, "1"), (2, "5")):
            run = run_into(place, day, state="cq_state")
            run.round([shard({"a": Good(rows(day), {"items": value})})])
            assert run.load().error == ""
        key = f"{place.under}cq_state.{format_}"
        (row,) = rows_of({key: place.objects()[key]})
        assert (row["key"], row["value"], int(row["version"])) == ("items", "5", 2)
        prepare(Message("prepare", "run-2", destination="w"), stage=run.stage, environment={})
        found = run.stage.cursors("run-2", "w")
        assert (found.error, found.cursors) == (None, {"src": {"items": "5"}})

    def test_a_state_file_that_lost_a_cursor_is_mended_from_what_each_load_wrote(
        self, make, run_into
    ):
        place = make(self.formats[0], "{{TABLE}}.{{FORMAT}}", **ONE_NAME)
        run = run_into(place, 0, state="cq_state")
        run.round([shard({"a": Good(rows(1), {"items": "7"})})])
        run.load()
        place.store.delete([f"{place.under}cq_state.{self.formats[0]}"])
        prepare(Message("prepare", "run-0", destination="w"), stage=run.stage, environment={})
        assert run.stage.cursors("run-0", "w").cursors == {"src": {"items": "7"}}

    def test_cursors_that_could_not_be_read_back_are_refused_before_the_run(self, place, run_into):
        run = run_into(place, 0, state="cq_state")
        prepare(Message("prepare", "run-0", destination="w"), stage=run.stage, environment={})
        error = run.stage.cursors("run-0", "w").error
        assert error.exit_code == 2
        assert "no_rotate" in error.message

    def test_an_incremental_table_is_not_written_over_its_own_older_rows(self, make, run_into):
        place = make(self.formats[0], "{{TABLE}}.{{FORMAT}}", **ONE_NAME)
        run = run_into(place, 0, table(incremental=True), state="cq_state")
        run.round([shard({"a": Good(rows(1), {"items": "1"})})])
        receipt = run.load()
        assert receipt.outcome == "failed"
        assert "incremental" in receipt.error


def _hooked(hook: Callable[[], object], at: str = "publish") -> Warehouses:
    """Warehouses of which the first calls `hook` just before the step of that name."""
    hooks = [hook]

    def open_(found: OpenDestination) -> Any:
        warehouse = cache.open_destination(found)
        step = getattr(warehouse, at)

        def hooked(*arguments: Any) -> Any:
            if hooks:
                hooks.pop()()
            return step(*arguments)

        setattr(warehouse, at, hooked)
        return warehouse

    return Warehouses(open_)


class DialectsSuite:
    """What every type looks like in every format; the store does not matter."""

    formats: tuple[str, ...]

    @pytest.mark.parametrize(("type_", "value", "text", "parquet"), [
        (pa.bool_(), True, "true", True),
        (pa.int8(), -128, "-128", -128),
        (pa.uint64(), 2**64 - 1, str(2**64 - 1), 2**64 - 1),
        (pa.float16(), 1.5, "1.5", 1.5),
        (pa.float64(), 1e300, "1e+300", 1e300),
        (pa.decimal128(20, 2), "12345678901234567.25", "12345678901234567.25", "12345678901234567.25"),
        (pa.string(), "", "", ""),
        (pa.large_string(), "ü", "ü", "ü"),
        (pa.string_view(), "y", "y", "y"),
        (pa.binary(), b"\x00\xff", "AP8=", b"\x00\xff"),
        (pa.large_binary(), b"\x00\xff", "AP8=", "AP8="),
        (pa.binary(3), b"abc", "YWJj", b"abc"),
        (pa.date32(), 19782, "2024-02-29", "2024-02-29"),
        (pa.time32("s"), 3723, "01:02:03", "01:02:03"),
        (pa.timestamp("us"), 0, "1970-01-01 00:00:00.000000Z", "1970-01-01 00:00:00"),
        (pa.timestamp("s", "+05:00"), 1, "1970-01-01 00:00:01Z", "1970-01-01 00:00:01+00:00"),
        (pa.timestamp("ns", "UTC"), 1, "1970-01-01 00:00:00.000000001Z", "1970-01-01 00:00:00.000000001Z"),
        (types.UUID, b"\x07" * 16, "07070707-0707-0707-0707-070707070707", "07070707-0707-0707-0707-070707070707"),
        (types.INET, "10.0.0.0/8", "10.0.0.0/8", "10.0.0.0/8"),
        (types.MAC, b"\x08\x00\x2b\x01\x02\x03", "08:00:2b:01:02:03", "08:00:2b:01:02:03"),
        (types.JSON, '{"a":[1,null,12345678901234567890123]}', '{"a":[1,null,12345678901234567890123]}',
         '{"a":[1,null,12345678901234567890123]}'),
        (pa.duration("ms"), 1500, "PT1.5S", "PT1.5S"),
        (pa.month_day_nano_interval(), (1, -2, 0), "P1M-2DT0S", "P1M-2DT0S"),
        (pa.list_(pa.string()), ["a", None], '["a",null]', ["a", None]),
        (pa.list_view(pa.bool_()), [True], "[true]", [True]),
        (pa.list_(pa.int32(), 2), [1, 2], "[1,2]", [1, 2]),
        (pa.large_list(pa.int64()), [1], "[1]", "[1]"),
        (pa.struct([("a", pa.int64()), ("u", pa.large_string())]), {"a": 1, "u": "x"}, '{"a":1,"u":"x"}',
         {"a": 1, "u": "x"}),
        (pa.map_(pa.string(), pa.int64()), [("k", 1)], '{"k":1}', [("k", 1)]),
        (pa.dictionary(pa.int8(), pa.string()), "a", "a", "a"),
    ], ids=str)  # fmt: skip
    def test_every_type_in_every_format(self, make, run_into, type_, value, text, parquet):
        keyed = Column("id", pa.int64(), nullable=False, primary_key=True)
        typed = table("items", keyed, Column("c", type_))
        for format_ in (f for f in self.formats if "." not in f):
            place = make(format_, under=f"{format_}/")
            run = run_into(place, 0, typed, stage=f"stage-{format_}")
            cells = [{"id": n, "c": _array(v, type_)} for n, v in enumerate([value, None])]
            run.round([shard({"a": tuple(cells)})])
            assert run.load().error == ""
            found, nothing = (row["c"] for row in place.rows())
            match format_:
                case "csv":
                    assert (found, nothing) == (text, "")
                case "json":
                    (data,) = place.objects().values()
                    first, second = data.decode().splitlines()
                    plain = pa.types.is_integer(type_) or pa.types.is_floating(type_)
                    bare = plain or pa.types.is_boolean(type_) or pa.types.is_nested(type_)
                    told = text if bare or type_ == types.JSON else f'"{text}"'
                    assert first.endswith(f'"c":{told}}}')
                    assert second.endswith('"c":null}')
                case _:
                    like = found if isinstance(found, type(parquet)) else str(found)
                    assert (like, nothing) == (parquet, None)


def _array(value: Any, type_: pa.DataType) -> pa.Array:
    """One value as an array of any type, views and extensions included."""
    if pa.types.is_dictionary(type_):
        return pa.array([value], type_.value_type).dictionary_encode().cast(type_)
    storage = types.storage_of(type_)
    if pa.types.is_decimal(type_) and value is not None:
        return pa.array([value]).cast(type_)
    array = pa.array([value], storage)
    return array if storage == type_ else pa.ExtensionArray.from_storage(type_, array)
