"""The stage: whether commits can rest on it, how its clock goes, and what lies on it that somebody should see to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from uuid import uuid4

from contracts import layout
from contracts.errors import MissingExtra, SharderError
from contracts.settings import Settings
from contracts.stage import Stage
from contracts.store import Store, open_store, probe
from contracts.store.leftovers import Unseen, leftovers
from sharder import lease, status, storeclock, text
from sharder.doctor.finding import Finding, failure, guarded, ok, warning

PATIENCE_S = 2.0  # a doctor tells soon what a run would wait for
SKEW_S = 5.0
BAD_SKEW_S = 60.0
RUNS = 200  # of the newest, looked at for open rounds
DAY_S = 86400.0


def stage(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    try:
        store = open_store(settings.stage_url, patience_s=PATIENCE_S)
        probe(store)
    except SharderError as error:
        yield failure("stage", error)
        return
    try:
        yield ok("stage", f"{store.url} reads, writes and refuses to overwrite")
        yield from guarded("listing", lambda: _sorted(store))
        yield from guarded("clock of the stage", lambda: _clock(store))
        yield from guarded("runs", lambda: _runs(Stage(store)))
        yield from guarded("leases", lambda: _leases(store))
        yield from guarded("leftovers", lambda: _leftovers(store, environment))
    finally:
        store.close()


def _sorted(store: Store) -> Iterator[Finding]:
    """Names that services of file systems and of trees put in another order than that of bytes."""
    name = f"probe/{uuid4().hex}"
    keys = [f"{name}-a", f"{name}/b", f"{name}/B", f"{name}0"]
    try:
        for key in keys:
            store.put(key, b"")
        found = [e.key for e in store.list("probe/") if e.key.startswith(name)]
    finally:
        store.delete(keys)
    if found == sorted(keys):
        yield ok("listing", "sorted by key")
    else:
        yield Finding("listing", "failure", f"{store.url} lists its keys out of order or not all of them", "use a bucket of the general kind (no S3 directory bucket, no hierarchical namespace)")  # fmt: skip


def _clock(store: Store) -> Iterator[Finding]:
    theirs, before, after = storeclock.ask(store)
    # Stores tell whole seconds.
    yield skew("clock of the stage", theirs, before - 1, after)


def skew(check: str, theirs: float, before: float, after: float) -> Finding:
    """How far a clock is from ours, which read `before` and `after` around its answer."""
    off = theirs - after if theirs > after else min(theirs - before, 0.0)
    if abs(off) < SKEW_S:
        return ok(check, "agrees with ours")
    says = f"is {text.duration(abs(off))} {'ahead of' if off > 0 else 'behind'} ours"
    mend = "set the clocks by NTP: sync times, the age of runs and the records in the warehouse are told by them"
    if abs(off) < BAD_SKEW_S:
        return warning(check, says, mend)
    return Finding(check, "failure", says, mend)


def _runs(at: Stage) -> Iterator[Finding]:
    """Open rounds that nobody alive watches."""
    found, left = at.runs(), 0
    for run in found[-RUNS:]:
        try:
            round_ = status.open_round(at, run)
            held = round_ and status.holder(at, at.plan(run, round_))
        except SharderError as error:
            yield warning("runs", f"run {run} cannot be read: {error.message}", error.hint)
            continue
        if round_ and not held:
            left += 1
            yield warning(
                "runs", f"run {run} is open and nobody is at work on it", f"sharder resume {run}"
            )
    if not left:
        yield ok("runs", f"{text.count(len(found), 'run')}, none of them left open")


def _leases(store: Store) -> Iterator[Finding]:
    now = storeclock.clock(store)()
    living = lease.living(store, now)
    dead: list[lease.Lease] = []
    unread: list[str] = []
    for entry in store.list(layout.LEASES):
        held = lease.at(store, entry.key)
        if held and held.unread:
            unread.append(held.unread)
        elif (
            held
            and held.run not in living
            and (now - held.renewed).total_seconds() > lease.EXPIRES_S
        ):
            dead.append(held)
    for why in unread:
        mend = "it is held until it expires, then the next run or `sharder gc` removes it; upgrade if it is newer"
        yield warning("leases", why, mend)
    if dead:
        named = ", ".join(f"{h.source} into {h.destination} (run {h.run})" for h in dead[:3])
        yield warning(
            "leases", f"{text.count(len(dead), 'lease')} expired: {named}",
            "they keep nobody out; `sharder gc` removes them after a day",
        )  # fmt: skip
    elif not unread:
        watched = (
            "a `sharder watch` is alive" if lease.watched(store, now) else "no `sharder watch` is"
        )
        yield ok("leases", f"{text.count(len(living), 'run')} at work; {watched}")


def _leftovers(store: Store, environment: Mapping[str, str]) -> Iterator[Finding]:
    try:
        found = leftovers(store, environment)
    except MissingExtra as error:
        yield warning("leftovers", f"not looked for: {error.message}", error.hint)
        return
    if isinstance(found, Unseen):
        yield ok("leftovers", f"not told by this store: {found.why}")
        return
    old = list(found.older(DAY_S))
    what = text.count(len(old), found.noun)
    size = text.size(sum(one.size for one in old))
    if old:
        yield warning("leftovers", f"{what} older than a day: {size}", "sharder gc")
    else:
        yield ok("leftovers", f"no {found.noun} older than a day")
