"""Hypothesis chooses what happens to the fleet: who moves, dies, sleeps and wakes, and what gets lost."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.model.actors import ENDLESS, Actor, Fault, Kind
from tests.model.protocol import CLIENTS, Protocol

ENDINGS = st.tuples(*[st.sampled_from(["ok", "ok", "ok", "failed", "raises"])] * len(CLIENTS))
FAULTS = st.sampled_from(["", "", "before", "after", "lied", "lied"])
KINDS = ("put", "create", "create", "delete", "copy", "publish", "publish")
MOVES = st.sampled_from([1, 2, 3, 5, *KINDS, *KINDS, *[ENDLESS] * 6])
PICK = st.integers(0, 1_000)
THEN = st.sampled_from(["", "", "", "dies", "sleeps"])


class CommitProtocol(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.model: Protocol | None = None

    @property
    def p(self) -> Protocol:
        assert self.model is not None
        return self.model

    @initialize(
        mode=st.sampled_from(["append", "overwrite", "overwrite-delete-stale", "incremental"]),
        destinations=st.sampled_from([("w",), ("w",), ("v", "w")]),
        deadline=st.sampled_from([0.0, 0.0, 0.0, 300.0]),
        tables=st.sampled_from([("p",), ("p", "q")]),
    )
    def begin(self, mode, destinations, deadline, tables):
        self.model = Protocol(mode, destinations, tables)
        self.p.submit(deadline)
        self.p.watch("run-1", 1).advance()

    @precondition(lambda self: self.model and self.model.alive())
    @rule(pick=PICK, to=MOVES, fault=FAULTS, then=THEN)
    def move(self, pick, to, fault, then):
        alive = self.p.alive()
        self._advance(alive[pick % len(alive)], to, fault, then)

    def _advance(self, actor: Actor, to: int | Kind, fault: Fault, then: str) -> None:
        actor.advance(to, fault)
        if then == "dies":
            actor.kill()
        actor.suspended = then == "sleeps"

    @precondition(lambda self: self.model and self.model.asleep())
    @rule(pick=PICK)
    def wake(self, pick):
        asleep = self.p.asleep()
        asleep[pick % len(asleep)].suspended = False

    @precondition(lambda self: self.model and self.model.open_rounds())
    @rule(pick=PICK, to=MOVES, fault=FAULTS, then=THEN)
    def watch(self, pick, to, fault, then):
        rounds = self.p.open_rounds()
        self._advance(self.p.watch(*rounds[pick % len(rounds)]), to, fault, then)

    @precondition(lambda self: self.model and self.model.world.messages)
    @rule(pick=PICK, endings=ENDINGS, keep=st.booleans(), to=MOVES, fault=FAULTS, then=THEN)
    def deliver(self, pick, endings, keep, to, fault, then):
        at = pick % len(self.p.world.messages)
        self._advance(self.p.deliver(at, endings, keep=keep), to, fault, then)

    @precondition(lambda self: self.model and self.model.world.messages)
    @rule(endings=ENDINGS)
    def shards_end(self, endings):
        """Every shard that waits is worked on, without a fault; loads wait then."""
        for _ in range(len(self.p.world.messages)):
            if self.p.world.messages[0].kind == "load":
                break
            self.p.deliver(0, endings, keep=False).advance()
        for actor in self.p.alive():
            if actor in self.p.watchers:
                actor.advance()

    @precondition(lambda self: self.model and self.model.asleep())
    @rule(endings=ENDINGS)
    def another_tries(self, endings):
        """Half a minute of silence, and another takes the work of those who sleep."""
        for _ in range(2):
            self.p.world.pass_time(31.0, self.p.alive())
            for actor in self.p.alive():
                actor.advance()
        for _ in range(len(self.p.world.messages)):
            self.p.deliver(0, endings, keep=False).advance()

    @precondition(lambda self: self.model and self.model.world.messages)
    @rule(pick=PICK)
    def lose(self, pick):
        self.p.world.messages.pop(pick % len(self.p.world.messages))

    @rule(lose_messages=st.booleans())
    def restart_the_broker(self, lose_messages):
        self.p.world.beats.clear()
        if lose_messages:
            self.p.world.messages.clear()

    @rule(seconds=st.sampled_from([1.0, 6.0, 31.0, 31.0, 61.0]))
    def pass_time(self, seconds):
        self.p.world.pass_time(seconds, self.p.alive())

    @rule(pick=PICK)
    def cancel(self, pick):
        if rounds := self.p.open_rounds():
            self.p.cancel(rounds[pick % len(rounds)][0])

    @rule()
    def go_on(self):
        """A minute in which nothing goes wrong."""
        for _ in range(6):
            for actor in self.p.alive():
                actor.advance()
            for _ in range(min(2, len(self.p.world.messages))):
                self.p.deliver(0, ("ok",) * len(CLIENTS), keep=False)
            self.p.world.pass_time(6.0, self.p.alive())

    @precondition(lambda self: self.model and len(self.model.runs) < 3)
    @rule()
    def submit(self):
        """Of an incremental source only when the earlier run is closed, as the lease has it."""
        if self.p.mode != "incremental" or not self.p.open_rounds():
            self.p.submit()

    @rule(pick=PICK)
    def retry(self, pick):
        run = self.p.runs[pick % len(self.p.runs)]
        if run not in [r for r, _ in self.p.open_rounds()] and len(self.p.stage.rounds(run)) < 4:
            self.p.retry(run)

    @invariant()
    def everything_is_true(self):
        if self.model:
            self.model.check()

    def teardown(self):
        if self.model:
            try:
                self.model.finish()
            finally:
                self.model.close()
