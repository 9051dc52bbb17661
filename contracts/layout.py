"""Where every object of a run lives: one prefix per run, keys sorted in the order they are written."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote_to_bytes

from contracts.errors import InputError

_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
RUN_CHARS = 100

LEASES = "leases/"
CHUNK = 1000  # shards per chunk of the plan, so that a shard's id says which chunk it is in


def escape(name: str) -> str:
    """A name as one path segment; `unescape` is its inverse. Never empty, `.`, `..` or hidden.

    Raises InputError if the segment would be longer than file systems allow (255 bytes).
    """
    raw = name.encode("utf-8", "surrogatepass")
    text = "".join(
        chr(b) if b in _SAFE and (i or b != 0x2E) else f"%{b:02X}" for i, b in enumerate(raw)
    )
    text = text or "%"
    if len(text) > 200:
        raise InputError(
            f"the name {name[:40]!r}… is too long: {len(text)} bytes once escaped, 200 at most"
        )
    return text


def unescape(segment: str) -> str:
    return "" if segment == "%" else unquote_to_bytes(segment).decode("utf-8", "surrogatepass")


def check_run(run: str) -> str:
    """Run ids are path segments that people type: letters, digits and _.- only."""
    if not _RUN.fullmatch(run):
        near = re.sub(r"[^A-Za-z0-9_.-]+", "-", run).lstrip("_.-")[:100].rstrip("-")
        instead = f", for example {near}" if near else ""
        hint = f"use letters, digits and _ . - (100 at most){instead}"
        raise InputError(f"not a run id: {run!r}", hint)
    return run


def run_prefix(run: str) -> str:
    return f"runs/{check_run(run)}/"


def spec(run: str, n: int) -> str:
    return f"{run_prefix(run)}spec/{n}.yml"


def clients(run: str, source: str) -> str:
    return f"{run_prefix(run)}clients/{escape(source)}.jsonl"


def cursors(run: str, destination: str) -> str:
    return f"{run_prefix(run)}cursors/{escape(destination)}.json"


def plan_index(run: str, round_: int) -> str:
    return f"{run_prefix(run)}plan/{round_}/index.json"


def plan_chunk(run: str, round_: int, chunk: int) -> str:
    return f"{run_prefix(run)}plan/{round_}/{chunk:05d}.jsonl"


def shard_id(round_: int, number: int) -> str:
    """Unique over the rounds of a run and sorted in the order of the plan."""
    return f"{round_:02d}-{number:07d}"


def parse_shard_id(shard: str) -> tuple[int, int]:
    """(round, number in the round). Raises InputError if it is not a shard id."""
    if not re.fullmatch(r"[0-9]{2,}-[0-9]{7,}", shard):
        raise InputError(f"not a shard id: {shard[:40]!r}", "shard ids look like 01-0000042")
    round_, number = shard.split("-")
    return int(round_), int(number)


def attempts(run: str, job: str) -> str:
    """Prefix of the start markers of one job: a shard, or a load, whose name may be too long for a segment."""
    try:
        segment = escape(job)
    except InputError:
        segment = f"long-{hashlib.sha256(job.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return f"{run_prefix(run)}attempts/{segment}/"


def attempt(run: str, job: str, attempt_id: str) -> str:
    return f"{attempts(run, job)}{escape(attempt_id)}.json"


def part(
    run: str, source: str, table: str, shard: str, attempt_id: str, n: int, suffix: str
) -> str:
    place = f"{escape(source)}/{escape(table)}/{shard}/{escape(attempt_id)}"
    return f"{run_prefix(run)}data/{place}/{n:05d}.{suffix}"


def commits(run: str) -> str:
    return f"{run_prefix(run)}commits/"


def commit(run: str, shard: str) -> str:
    parse_shard_id(shard)
    return f"{commits(run)}{shard}.json"


def loads(run: str) -> str:
    return f"{run_prefix(run)}loads/"


def receipt(run: str, destination: str, source: str, table: str, round_: int) -> str:
    return f"{loads(run)}{escape(destination)}/{escape(source)}/{escape(table)}/{round_}.json"


def migrate(run: str) -> str:
    """The tables that `migrate` is to make; such a run has no plan, and is removed at its end."""
    return f"{run_prefix(run)}migrate.json"


def migrated(run: str, destination: str) -> str:
    return f"{run_prefix(run)}migrations/{escape(destination)}.json"


def cancel(run: str) -> str:
    return f"{run_prefix(run)}cancel.json"


def closed(run: str, round_: int) -> str:
    return f"{run_prefix(run)}closed/{round_}.json"


def concluded(run: str, destination: str, round_: int) -> str:
    """That the summary of a closed round was written into a destination that wants it."""
    return f"{run_prefix(run)}concluded/{escape(destination)}/{round_}.json"


def lease(source: str, destination: str, part: str = "") -> str:
    """`part`: `n/m` of a parallel shard, which holds a lease of its own."""
    if part:
        return f"{part_leases(source, destination)}{escape(part.replace('/', '-of-'))}.json"
    return f"{LEASES}{escape(source)}/{escape(destination)}.json"


def part_leases(source: str, destination: str) -> str:
    """Prefix of the leases of parallel shards."""
    return f"{LEASES}{escape(source)}/{escape(destination)}/"


def takeover(source: str, destination: str, dead: str) -> str:
    """Create-only: who may take over a lease whose holder is dead. `dead` stands for that very lease."""
    return f"{part_leases(source, destination)}takeover-{escape(dead)}.json"


def parse_lease(key: str) -> tuple[str, str]:
    """(source, destination) of the key of any lease."""
    source, destination, *_ = key.removeprefix(LEASES).removesuffix(".json").split("/")
    return unescape(source), unescape(destination)


def history(source: str, table: str) -> str:
    return f"history/{escape(source)}/{escape(table)}.json"


def backfills(name: str) -> str:
    """Prefix of the intervals of a backfill that are done; they outlive their runs."""
    return f"backfills/{escape(name)}/"


def backfilled(name: str, interval: str) -> str:
    return f"{backfills(name)}{escape(interval)}.json"
