"""A source whose tables have a column of every type, over accounts of which some may be denied.

`ledger0`, `ledger1`, … each with the child `ledger0_notes`. Values depend on nothing but the options, so
that a test can say what every row of every destination has to be.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import pyarrow as pa

    from contracts.table import Table
    from worker.sources.base import Clients, Context, Event, Rows, Work

KEYS = ("client", "number")


class Options(BaseModel):
    """`denied`: a file whose words are the clients that refuse us. `edition` is in every row."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clients: tuple[str, ...] = ("ann", "bob", "cid")
    ledgers: int = 1
    rows: int = 7
    edition: str = "first"
    denied: str = ""


def open(spec: Mapping[str, Any], context: Context) -> LedgerSource:  # noqa: A001 the registry's name
    del context
    return LedgerSource(Options.model_validate(dict(spec)))


def columns() -> Mapping[str, tuple[pa.DataType, Sequence[Any]]]:
    """Column → type and values in turn; row n has value n of each, and the first row after them nulls."""
    import pyarrow as pa

    from contracts.types import INET, JSON, MAC

    return {
        "text": (pa.string(), ['say "hi", you', "line\nline", " żółć 🦆 ", "=1+1", "null", "\\N"]),
        "truth": (pa.bool_(), [True, False]),
        "int8": (pa.int8(), [-128, 127]),
        "int16": (pa.int16(), [-(2**15), 2**15 - 1]),
        "int32": (pa.int32(), [-(2**31), 2**31 - 1]),
        "int64": (pa.int64(), [-(2**63), 2**63 - 1]),
        "uint8": (pa.uint8(), [255, 0]),
        "uint16": (pa.uint16(), [2**16 - 1]),
        "uint32": (pa.uint32(), [2**32 - 1]),
        "uint64": (pa.uint64(), [2**64 - 1]),
        "float32": (pa.float32(), [0.5, -1.25]),
        "float64": (pa.float64(), [0.1, 1e308, 5e-324]),
        "money": (pa.decimal128(38, 10), [Decimal("-1234567890123456789.0123456789"), Decimal(0)]),
        "bytes": (pa.binary(), [b"\x00\xff\n,", bytes(range(256))]),
        "day": (pa.date32(), [date(1, 1, 1), date(9999, 12, 31)]),
        "clock": (pa.time64("us"), [time(0), time(23, 59, 59, 999999)]),
        "moment": (pa.timestamp("us"), [datetime.fromisoformat("2026-02-03T04:05:06.789012")]),
        "zoned": (pa.timestamp("us", tz="UTC"), [datetime(2026, 2, 3, 4, 5, 6, 789012, UTC)]),
        "span": (pa.duration("us"), [timedelta(hours=1, microseconds=1), timedelta(0)]),
        "uuid": (pa.uuid(), [UUID("c25355aa-b52c-5b70-a4e0-c9991f5a3b87").bytes]),
        "json": (JSON, [json.dumps({"b": [1, None, "x"], "a": {"ü": 1.5}}), "[]", '"text"']),
        "inet": (INET, ["10.0.0.0/8", "2001:db8::1/128"]),
        "mac": (MAC, [bytes.fromhex("08002b010203")]),
        "texts": (pa.list_(pa.string()), [[], ["", None, 'a,"b"\n'], ["{}", "\\"]]),
        "numbers": (pa.list_(pa.int64()), [[1, None, 3], []]),
        "struct": (
            pa.struct([("a", pa.string()), ("b", pa.list_(pa.int64()))]),
            [{"a": 'x\n"y"', "b": [1, None]}, {"a": None, "b": None}],
        ),
        "map": (pa.map_(pa.string(), pa.int64()), [[("k,", 1), ("", None)], []]),
    }


class LedgerSource:
    def __init__(self, options: Options) -> None:
        self._options = options

    def tables(self) -> Sequence[Table]:
        import pyarrow as pa

        from contracts.table import Column, Table

        keys = (
            Column("client", pa.string(), nullable=False, primary_key=True),
            Column("number", pa.int64(), nullable=False, primary_key=True),
        )
        more = [Column(name, type_) for name, (type_, _) in columns().items()]
        email = Column("email", pa.string(), sensitive=True)
        found: list[Table] = []
        for n in range(self._options.ledgers):
            name = f"ledger{n}"
            found.append(Table(name, (*keys, Column("edition", pa.string()), email, *more)))
            note = Column("note", pa.string(), primary_key=True, nullable=False)
            found.append(Table(f"{name}_notes", (*keys, note), parent=name))
        return found

    def clients(self, table: Table) -> Clients:
        from worker.sources.base import Clients

        del table
        return Clients("all", self._options.clients)

    def read(self, work: Work, cursors: Mapping[str, str]) -> Iterator[Event]:
        from worker.sources.base import CellDone

        del cursors
        denied = Path(self._options.denied).read_text().split() if self._options.denied else []
        for client in work.clients:
            if client in denied:
                for table in sorted(work.selected):
                    yield CellDone(table, client, "failed", "denied", "AccessDenied: no such role")
                continue
            yield from self._rows(work.top.name, client)
            for table in sorted(work.selected):
                yield CellDone(table, client)

    def _rows(self, table: str, client: str) -> Iterator[Rows]:
        import pyarrow as pa

        from worker.ids import deterministic_ids
        from worker.sources.base import Rows

        count = self._options.rows
        values: dict[str, Any] = {
            "client": pa.array([client] * count, pa.string()),
            "number": pa.array(range(count), pa.int64()),
            "edition": pa.array([self._options.edition] * count, pa.string()),
            "email": pa.array([f"{client}.{n}@example.com" for n in range(count)], pa.string()),
        }
        for name, (type_, cycle) in columns().items():
            row = [*cycle, None]
            values[name] = pa.array([row[n % len(row)] for n in range(count)], type_)
        ids = deterministic_ids(pa.record_batch({k: values[k] for k in KEYS}), KEYS)
        yield Rows(table, client, pa.record_batch({**values, "_cq_id": ids}))
        notes = {
            "client": values["client"],
            "number": values["number"],
            "note": pa.array([f"note of {client} {n}" for n in range(count)], pa.string()),
            "_cq_parent_id": ids,
        }
        yield Rows(f"{table}_notes", client, pa.record_batch(notes))

    def close(self) -> None:
        """Nothing is held open."""
