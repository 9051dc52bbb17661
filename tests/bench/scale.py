"""How much each benchmark does: at full size for figures, tiny to see that it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """`rounds` against the hand-written limit; `slow_rounds` against what takes ten times as long."""

    records: int = 100_000
    sql_rows: int = 1_000_000
    parts: int = 64
    part_rows: int = 15_625
    accounts: int = 10_000
    regions: int = 17
    tables: int = 500
    fed: int = 100_000
    shards: int = 400
    plugin_messages: int = 1_000_000
    rounds: int = 7
    slow_rounds: int = 3


FULL = Scale()
QUICK = Scale(
    records=50_000,
    sql_rows=200_000,
    part_rows=4_000,
    fed=20_000,
    shards=150,
    plugin_messages=100_000,
    rounds=3,
    slow_rounds=1,
)
TINY = Scale(
    records=2000, sql_rows=2000, parts=2, part_rows=500, accounts=50, regions=2, tables=5,
    fed=300, shards=6, plugin_messages=2000, rounds=1, slow_rounds=1,
)  # fmt: skip
