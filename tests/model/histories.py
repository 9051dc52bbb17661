"""`python -m tests.model.histories 150 [--seed N]`: so many histories of the commit protocol, and what happened in them.

The machine is that of `tests/unit/test_protocol_model.py`, whose long profile goes on for as long as it is
let; here the figures are kept. A history that breaks a promise ends with hypothesis' smallest example of it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

import hypothesis
from hypothesis.stateful import run_state_machine_as_test

from tests.model.actors import Actor, Fault, Kind
from tests.model.machine import CommitProtocol

COUNTED: Counter[str] = Counter()


class Counted(CommitProtocol):
    """The machine, with a book of what it did."""

    def _advance(self, actor: Actor, to: int | Kind, fault: Fault, then: str) -> None:
        moving = not actor.done
        super()._advance(actor, to, fault, then)
        COUNTED["faults"] += bool(moving and fault)
        COUNTED["suspended"] += moving and actor.suspended

    def teardown(self) -> None:
        if self.model is None:
            return
        COUNTED["killed"] += sum(actor.dead for actor in self.model.everybody())
        super().teardown()
        held = [one for o in self.model.oracles.values() for one in o.holdings.values()]
        COUNTED["histories"] += 1
        COUNTED["processes"] += len(self.model.everybody())
        COUNTED["runs"] += len(self.model.runs)
        COUNTED["rounds"] += sum(len(self.model.stage.rounds(run)) for run in self.model.runs)
        COUNTED["published"] += sum(one.publishes for one in held)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.model.histories", description=__doc__)
    parser.add_argument("histories", nargs="?", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=40, help="at most, of one history")
    words = parser.parse_args()
    began = time.monotonic()
    run_state_machine_as_test(
        hypothesis.seed(words.seed)(Counted),
        settings=hypothesis.settings(
            max_examples=words.histories,
            stateful_step_count=words.steps,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )
    c = COUNTED
    print(
        f"seed {words.seed}: {c['histories']} histories, {c['runs']} runs, {c['rounds']} rounds, "
        f"{c['processes']} processes, {c['killed']} killed, {c['suspended']} suspended, "
        f"{c['faults']} faults of store, queue and warehouse, {c['published']} loads published, "
        f"{time.monotonic() - began:.0f} s: every promise kept"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
