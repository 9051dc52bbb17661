"""Which tables one of several parallel submits plans: the deal of `--shard n/m`.

Top-level tables, sorted by source and name, are dealt round about to the m shards. The order comes from
the spec alone, so every process computes the same deal and no two of them get the same table. A table is
dealt whole: one submitter loads it, and no row is merged, or found stale, by two of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from contracts import layout
from contracts.errors import InputError

TableKey = tuple[str, str]  # source, top-level table

_SUFFIX = re.compile(r"-[1-9][0-9]*-of-([1-9][0-9]*)$")


@dataclass(frozen=True)
class Part:
    """Shard `n` of `m`, both counted from 1."""

    n: int
    m: int

    def __str__(self) -> str:
        return f"{self.n}/{self.m}"

    def deal(self, tables: Iterable[TableKey]) -> frozenset[TableKey]:
        """Those of the tables that are ours. More shards than tables leave some with none."""
        return frozenset(sorted(tables)[self.n - 1 :: self.m])

    def run(self, run: str) -> str:
        """The id of this shard's run; those of one invocation must not meet. Raises InputError."""
        layout.check_run(run)
        suffix = f"-{self.n}-of-{self.m}"
        if len(run) + len(suffix) > layout.RUN_CHARS:
            raise InputError(
                f"the run id {run[:40]}… is too long for a shard: it gets '{suffix}' behind it",
                f"use {layout.RUN_CHARS - len(suffix)} characters at most",
            )
        return f"{run}{suffix}"


def parse(text: str) -> Part:
    """`n/m` as CloudQuery has it. Raises ValueError with a sentence."""
    n, slash, m = text.partition("/")
    if not slash or "/" in m:
        raise ValueError(f"not of the form n/m: '{text}'; write for example 1/4")
    if not (_is_integer(n) and _is_integer(m)):
        raise ValueError(f"n and m must be integers: '{text}'; write for example 1/4")
    part = Part(int(n), int(m))
    if part.n < 1 or part.m < 1:
        raise ValueError(f"n and m count from 1: '{text}'; the first of four is 1/4")
    if part.n > part.m:
        raise ValueError(f"n is above m: '{text}'; the last of {part.m} is {part.m}/{part.m}")
    return part


def _is_integer(text: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]{1,9}", text) is not None


def share(run: str) -> float:
    """How much of an invocation a run is, as its id says: 1 unless it is a shard of m."""
    suffix = _SUFFIX.search(run)
    return 1 / int(suffix[1]) if suffix else 1.0
