"""Parts of `worker serve` alone: how rows are gathered, how a line of the log looks, what a secret is."""

from __future__ import annotations

import json
import logging

import pyarrow as pa
import pytest
from pydantic import BaseModel, Field

from contracts.errors import InputError, SchemaChanged
from worker.serve import gather
from worker.serve.gather import Gather
from worker.serve.logs import LINE_BYTES, Json, Text
from worker.serve.offer import read_spec, secrets


def batch(rows: int, start: int = 0) -> pa.RecordBatch:
    return pa.record_batch({"n": pa.array(range(start, start + rows), pa.int64())})


class TestGather:
    def test_small_batches_wait_and_keep_their_order(self):
        held = Gather()
        assert [list(held.add("a", batch(1, n))) for n in range(100)] == [[]] * 100
        ((table, whole),) = held.flush()
        assert (table, whole["n"].to_pylist()) == ("a", list(range(100)))
        assert list(held.flush()) == []

    def test_a_large_batch_is_cut(self):
        pieces = list(Gather().add("a", batch(1 << 20)))
        assert [b.num_rows for _, b in pieces] == [1 << 17] * 8
        assert pieces[-1][1]["n"][-1].as_py() == (1 << 20) - 1

    def test_what_waits_is_bounded_over_all_tables_the_largest_goes_first(self):
        held, rows = Gather(), gather.MESSAGE_BYTES // 8 - 1
        sent = [name for n in range(9) for name, _ in held.add(f"t{n}", batch(rows - n))]
        assert sent == ["t0"]

    def test_a_row_that_no_message_can_hold_is_refused(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(gather, "ROW_BYTES", 7)
        with pytest.raises(SchemaChanged, match="more than a message may have"):
            list(Gather().add("a", batch(1)))


def record(level: int, message: str, **facts: object) -> logging.LogRecord:
    made = logging.LogRecord("sharder", level, "", 0, message, None, None)
    if facts:
        made.facts = facts
    return made


class TestLog:
    def test_a_line_has_the_fields_that_the_cli_reads(self):
        said = record(logging.WARNING, "x", event="clients_not_whole", table="t", client="c")
        line = json.loads(Json().format(said))
        assert line.pop("time")
        assert line == {"level": "warn", "message": "clients_not_whole", "table": "t", "client": "c"}  # fmt: skip
        assert Text().format(said).endswith(" WARN clients_not_whole table=t client=c")

    def test_a_library_that_logs_has_its_sentence(self):
        line = json.loads(Json().format(record(logging.ERROR, "it broke")))
        assert (line["level"], line["message"]) == ("error", "it broke")

    def test_a_line_is_never_longer_than_the_cli_reads(self):
        said = record(logging.ERROR, "x", event="table_failed", table="t", client="c", error="ü" * 9000, why='"' * 9000)  # fmt: skip
        line = Json().format(said)
        assert len(line.encode()) <= LINE_BYTES
        assert json.loads(line)["table"] == "t"


class Account(BaseModel):
    id: str
    key: str = Field("", json_schema_extra={"secret": True})


class Options(BaseModel):
    accounts: list[Account]
    headers: dict[str, str] = Field({}, json_schema_extra={"secret": True})


def test_secrets_are_found_at_any_depth():
    options = Options(accounts=[Account(id="a", key="k1")], headers={"x": "k2"})
    assert [text for _, text in secrets(options)] == ["k1", "k2"]


def test_a_spec_is_a_mapping_or_nothing():
    assert read_spec(b"") == read_spec(b"null") == read_spec(b"{}") == {}
    for text in (b"[1]", b"{"):
        with pytest.raises(InputError):
            read_spec(text)
