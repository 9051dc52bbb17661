"""Who is at work on the fleet: live workers and loaders, and what waits for them, as the broker knows it.

Without the broker nothing of this is known, and that is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from contracts.errors import SharderError
from sharder import text
from sharder.summary import release

if TYPE_CHECKING:
    from contracts.fleet import Census, Present

UNKNOWN = (
    "workers, loaders and messages: not known here, as no broker is named (--broker or SHARDER_BROKER); "
    "a run without a broker has its own"
)
HOSTS = 5  # named


@dataclass(frozen=True)
class Crew:
    """`census` or, in `unknown`, why there is none."""

    census: Census | None = None
    unknown: str = ""

    def to_json(self) -> dict[str, Any]:
        if self.census is None:
            return {"fleet": None, "fleet_unknown": self.unknown}
        return {"fleet": asdict(self.census)}


def crew(broker: str) -> Crew:
    """Never raises for a broker that does not answer: the stage has the truth, and can be read."""
    if not broker:
        return Crew(unknown=UNKNOWN)
    from contracts.fleet import look_around

    try:
        return Crew(look_around(broker))
    except SharderError as error:
        return Crew(unknown=f"workers, loaders and messages: not known: {error.message}")


def lines(found: Crew) -> list[str]:
    census = found.census
    if census is None:
        return [f"  {found.unknown}"]
    workers, loaders = census.of("worker"), census.of("loader")
    said = [
        f"  workers: {people(workers)}; loaders: {people(loaders)}",
        f"  waiting in the broker: {text.count(census.shards, 'shard')}, {text.count(census.loads, 'load')}",
    ]
    return [*said, *(f"  {line}" for line in odd(census))]


def odd(census: Census) -> list[str]:
    """What is unusual about the releases of who is there."""
    ours = release()
    others: dict[str, int] = {}
    for one in census.present:
        if one.release != ours:
            name = one.release or "an older release"
            others[name] = others.get(name, 0) + 1
    if not others:
        return []
    named = ", ".join(f"{n} of {name}" for name, n in sorted(others.items()))
    workers = census.of("worker")
    alone = bool(workers) and all(one.release != ours for one in workers)
    effect = (
        "no worker is of this release; a plan that they cannot read they leave alone, and a shard that "
        "nobody starts is given up after 20 hand-outs"
        if alone
        else "what they cannot read they leave to the others"
    )
    return [f"other releases than {ours}: {named}; {effect}"]


def people(present: Sequence[Present]) -> str:
    """`12 processes on 3 hosts (a, b, c)`."""
    if not present:
        return "none alive"
    hosts: Mapping[str, None] = dict.fromkeys(one.host for one in present)
    named = ", ".join(list(hosts)[:HOSTS]) + (", …" if len(hosts) > HOSTS else "")
    processes = sum(one.processes for one in present)
    noun = "process" if processes == 1 else "processes"
    return f"{processes:,} {noun} on {text.count(len(hosts), 'host')} ({named})"
