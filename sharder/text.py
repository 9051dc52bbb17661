"""Numbers and summaries as people read them. Pure: no terminal, no clock."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from contracts.errors import Exit
from contracts.summary import CellCounts, DestinationSummary, Problem, Summary


def count(n: int, noun: str) -> str:
    """`1 row`, `12,345 rows`."""
    plural = noun if noun.endswith("s") else f"{noun}s"
    return f"{n:,} {noun if n == 1 else plural}"


def size(n: int) -> str:
    """`512 B`, `1.5 MB`; decimal, as object stores bill it."""
    value = float(n)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def duration(seconds: float) -> str:
    """`0.8 s`, `42 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def cells(counts: CellCounts) -> str:
    """`340 cells ok, 2 failed, 1 skipped`; what is zero is left out."""
    parts = [count(counts.ok, "cell") + " ok"]
    parts += [f"{counts.failed:,} failed"] if counts.failed else []
    parts += [f"{counts.skipped:,} skipped"] if counts.skipped else []
    return ", ".join(parts)


def columns(rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Rows aligned in columns; those in `right` to the right."""
    table = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    flush = set(right)
    return [
        "  ".join(
            c.rjust(w) if i in flush else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]  # fmt: skip


# What a message says before the cause: the call that failed, or the parent that did.
_WHERE = re.compile(r"^(?:\S+ did not end ok: |[\w-]+\.\w+: )+")


def problems(found: Iterable[Problem]) -> Iterator[str]:
    """One entry per cause: a refused account fails in every table for the same reason, once."""
    causes: dict[tuple[str, ...], list[Problem]] = {}
    for p in found:
        causes.setdefault((p.source, p.outcome, p.reason, _WHERE.sub("", p.message)), []).append(p)
    for (source, outcome, reason, message), same in causes.items():
        total, examples = (
            sum(p.cells for p in same),
            list(dict.fromkeys(c for p in same for c in p.clients)),
        )
        more = f" and {total - 3:,} more" if total > 3 else ""
        clients = f" ({', '.join(examples[:3])}{more})" if examples else ""
        place = (
            same[0].table
            if len(same) == 1
            else f"{same[0].table} and {count(len(same) - 1, 'other table')}"
        )
        # An outcome of no stated reason says nothing twice.
        why = f"{outcome}: {reason}" if reason != outcome else outcome
        yield f"  {source} {place}: {count(total, 'cell')} {why}{clients}"
        for line in message.splitlines()[:3]:
            yield f"    {line}"


def loads(found: Iterable[DestinationSummary]) -> Iterator[str]:
    """Per source and destination the rows and the guarantee; then each load that failed."""
    totals: dict[tuple[str, str], list[int]] = {}
    guarantees: dict[tuple[str, str], set[str]] = {}
    failed: list[DestinationSummary] = []
    cursors_only: dict[tuple[str, str], bool] = {}
    for d in found:
        key = (d.source, d.destination)
        cursors_only[key] = cursors_only.get(key, True) and not (
            d.members or d.published or d.error
        )
        total = totals.setdefault(key, [0, 0])
        total[0] += d.published
        total[1] += d.stale
        guarantees.setdefault(key, set()).update({d.guarantee} - {""})
        failed += [d] if d.error else []
    for (source, destination), (published, stale) in totals.items():
        removed = f", {count(stale, 'stale row')} removed" if stale else ""
        guarantee = "".join(f" ({g})" for g in sorted(guarantees[source, destination]))
        what = f"{count(published, 'row')} published{removed}"
        if cursors_only[source, destination]:
            what = "cursors only"
        yield f"  {source} → {destination}: {what}{guarantee}"
    for d in failed:
        first, *rest = d.error.splitlines()
        yield f"  {d.source} {d.table} → {d.destination}: not loaded: {first}"
        yield from (f"    {line.strip()}" for line in rest[:3])


def summary(s: Summary) -> list[str]:
    """The whole answer; its last lines say what it came to and what to do next."""
    seconds = max((s.ended - s.started).total_seconds(), 0.001)
    lines = list(loads(s.destinations))
    lines += [f"  warning: {w}" for w in s.warnings]
    lines += list(problems(s.problems))
    lines += [f"  {s.cancelled}"] if s.cancelled else []
    lost = f", {count(s.attempts_lost, 'attempt')} lost and done again" if s.attempts_lost else ""
    lines.append(
        f"run {s.run}{f' round {s.round}' if s.round > 1 else ''}: "
        f"{count(len(s.tables), 'table')}, {count(s.rows, 'row')}, {size(s.bytes)} "
        f"in {duration(seconds)}; {cells(s.cells)}{lost}"
    )
    if s.exit_code != Exit.OK:
        what = "nothing was loaded" if s.exit_code == Exit.OUTSIDE else "the rest is loaded"
        lines.append(f"{what}; try again what failed with: sharder retry {s.run}")
    return lines
