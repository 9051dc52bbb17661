"""`sharder gc`: everything on a stage that nobody needs any more, and nothing else.

Each kind has its own reason why it may go, so that two at once do no harm and a death at any point leaves
only work for the next one:
closed runs after their time, runs that never had a plan after a day, unless somebody alive holds them;
parts that no commit of a closed round names;
temporary files and uploads that were begun more than a day ago, and not by an open run;
records of backfills that have not moved for a year, and leases and probes that were left a day ago.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from contracts import layout
from contracts.errors import MissingExtra, SharderError
from contracts.stage import Stage
from contracts.store import Entry
from contracts.store.leftovers import Leftover, Leftovers, Unseen, leftovers
from sharder import gc, lease, orphans, text, wishes
from sharder.gc import Gone
from sharder.preview import Shown

DAY_S = 86400.0
BACKFILL_S = 365 * DAY_S


@dataclass(frozen=True)
class Found:
    """One thing that went, or would go: `noun` says what kind it is, `why` why it may."""

    noun: str
    name: str
    gone: Gone
    why: str


class Sweep:
    """One look at a stage. With `dry` nothing is removed. `say` tells what could not be looked at."""

    def __init__(
        self,
        stage: Stage,
        environment: Mapping[str, str],
        now: datetime,
        say: Callable[[str], None],
        *,
        keep_s: float,
        dry: bool = False,
        clock: Callable[[], datetime] = wishes.now,
    ) -> None:
        """`clock`: by which a holder is alive; the store's, unless nothing may be written."""
        self._stage, self._environment, self._now, self._say = stage, environment, now, say
        self._keep_s, self._dry, self._clock = keep_s, dry, clock

    def run(self) -> Iterator[Found]:
        """What goes, as it goes."""
        seen = list(gc.candidates(self._stage, self._now))
        due = set(gc.doomed(seen, keep_s=self._keep_s))
        yield from self._runs([c for c in seen if c.run in due])
        for one in seen:
            if one.closed and one.run not in due:
                yield from self._orphans(one.run)
        yield from self._unfinished({c.run for c in seen if not c.closed})
        yield from self._backfills()
        yield from self._leases()
        yield from self._old("probe/", "scratch object", "left by a probe that was killed")

    def _runs(self, due: list[gc.Candidate]) -> Iterator[Found]:
        busy = lease.holders(self._stage.store, self._clock()) if due else set()
        for one in due:
            if one.run in busy:
                self._say(f"run {one.run} stays: somebody is at work on it")
                continue
            gone = (
                self._measured(one.run)
                if self._dry
                else gc.remove(self._stage, one.run, unless_held=self._clock)
            )
            age = text.duration(one.age_s)
            why = f"closed {age} ago" if one.closed else f"never had a plan, {age} old"
            yield Found("run", one.run, gone, why)

    def _measured(self, run: str) -> Gone:
        listed = gc.batches(self._stage.store.list(layout.run_prefix(run)))
        return sum(map(gc.sizes, listed), Gone())

    def _orphans(self, run: str) -> Iterator[Found]:
        gone = Gone()
        for batch in gc.batches(orphans.orphans(self._stage, run)):
            self._delete(batch)
            gone += gc.sizes(batch)
        if gone.objects:
            yield Found("part", run, gone, "no commit names them")

    def _unfinished(self, open_runs: set[str]) -> Iterator[Found]:
        try:
            found = leftovers(self._stage.store, self._environment)
        except MissingExtra as error:
            self._say(f"unfinished uploads were not looked for: {error}")
            return
        if isinstance(found, Unseen):
            self._say(f"unfinished uploads are not looked for here: {found.why}")
            return
        try:
            for one in found.older(DAY_S):
                if _run_of(one.key) not in open_runs:
                    yield self._ended(found, one)
        except SharderError as error:  # a bucket may well let us read and not see this
            self._say(f"unfinished uploads could not be removed: {error}")

    def _ended(self, found: Leftovers, one: Leftover) -> Found:
        if not self._dry:
            found.remove(one)
        age = text.duration(self._now.timestamp() - one.started_s)
        return Found(found.noun, one.key, Gone(1, one.size), f"begun {age} ago")

    def _backfills(self) -> Iterator[Found]:
        """By name, so that a backfill that still goes on keeps the record of its first interval."""
        for name in self._stage.store.folders("backfills/"):
            entries = list(self._stage.store.list(f"backfills/{name}/"))
            if entries and self._age(max(entries, key=lambda e: e.modified_s)) > BACKFILL_S:
                self._delete(entries)
                yield Found(
                    "backfill", layout.unescape(name), gc.sizes(entries), "not moved for a year"
                )

    def _leases(self) -> Iterator[Found]:
        """Read again before it goes: whoever takes a dead lease over writes it anew."""
        for entry in self._stage.store.list(layout.LEASES):
            held = lease.at(self._stage.store, entry.key)
            if held and (self._now - held.renewed).total_seconds() > DAY_S:
                self._delete([entry])
                name = f"{held.source} into {held.destination}"
                yield Found(
                    "lease",
                    name,
                    gc.sizes([entry]),
                    f"run {held.run} is long dead" if held.run else held.unread,
                )

    def _old(self, prefix: str, noun: str, why: str) -> Iterator[Found]:
        entries = [e for e in self._stage.store.list(prefix) if self._age(e) > DAY_S]
        if entries:
            self._delete(entries)
            yield Found(noun, prefix.rstrip("/"), gc.sizes(entries), why)

    def _age(self, entry: Entry) -> float:
        return self._now.timestamp() - entry.modified_s

    def _delete(self, entries: list[Entry]) -> None:
        if not self._dry:
            self._stage.store.delete([e.key for e in entries])


def _run_of(key: str) -> str:
    """The run that a key belongs to; empty if it is of none."""
    first, _, rest = key.partition("/")
    return rest.split("/")[0] if first == "runs" else ""


def line(found: Found) -> str:
    what = text.count(found.gone.objects, "object")
    return f"{found.noun} {found.name}: {what}, {text.size(found.gone.bytes)} ({found.why})"


def document(found: Found) -> dict[str, object]:
    return {
        "event": "removed", "kind": found.noun, "name": found.name, "why": found.why,
        "objects": found.gone.objects, "bytes": found.gone.bytes,
    }  # fmt: skip


def told(found: list[Found], *, dry: bool) -> Shown:
    """Everything, and the sum as the last line."""
    total = sum((f.gone for f in found), Gone())
    verb = "would remove" if dry else "removed"
    by_noun: dict[str, int] = {}
    for f in found:
        # Parts are told by run, and counted by themselves.
        by_noun[f.noun] = by_noun.get(f.noun, 0) + (f.gone.objects if f.noun == "part" else 1)
    kinds = ", ".join(text.count(n, noun) for noun, n in by_noun.items())
    last = f"{verb} {kinds}: {text.size(total.bytes)}" if found else "there is nothing to remove"
    sums = {"event": "total", "dry_run": dry, "objects": total.objects, "bytes": total.bytes}
    return Shown([*map(line, found), last], [*map(document, found), sums])
