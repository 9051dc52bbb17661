"""The commit protocol, checked by a machine that kills, suspends, loses, repeats and reorders at will.

`HYPOTHESIS_PROFILE=long` looks at 2,000 histories instead of a few. That the machine can fail is shown by
breaking the protocol, one promise at a time: each break is found.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from contracts.commit import Commit
from contracts.errors import Transient
from contracts.stage import Stage
from loader import outcomes, publication
from sharder.watch import Watch
from tests.model.machine import CommitProtocol
from tests.model.protocol import Ending, Protocol

pytestmark = pytest.mark.timeout(3600)

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
STEPS = 40

Patch = pytest.MonkeyPatch


def test_whatever_dies_sleeps_or_gets_lost_the_warehouse_holds_what_was_committed() -> None:
    examples = settings.default.max_examples if LONG else 12
    run_state_machine_as_test(
        CommitProtocol, settings=settings(max_examples=examples, stateful_step_count=STEPS)
    )


def trusts_that_it_exists(patch: Patch) -> None:
    """A lost reply makes the winner believe that it lost, and remove its parts."""
    patch.setattr(
        Stage, "create_commit", lambda self, c: self.store.create(key_of(c), c.to_bytes())
    )


def gives_up_on_silence(patch: Patch) -> None:
    """No answer to the commit is taken for a refusal."""
    create = Stage.create_commit

    def silent(self: Stage, commit: Commit) -> bool:
        try:
            return create(self, commit)
        except Transient:
            return False

    patch.setattr(Stage, "create_commit", silent)


def writes_over_commits(patch: Patch) -> None:
    """The last attempt wins."""

    def put(self: Stage, commit: Commit) -> bool:
        self.store.put(key_of(commit), commit.to_bytes())
        return True

    patch.setattr(Stage, "create_commit", put)


def publishes_without_the_fence(patch: Patch) -> None:
    """Whatever was published since the load began is not looked at."""
    publish, take = publication.publish, publication.take_fence

    def unfenced(*args: object) -> None:
        take(*args)  # type: ignore[arg-type]

    patch.setattr(publication, "take_fence", unfenced)
    patch.setattr(publication, "publish", lambda s, d, p: publish(s, d, replace(p, expected=None)))


def closes_without_receipts(patch: Patch) -> None:
    patch.setattr(Watch, "closed", property(lambda self: not sum(self._missing)))


def key_of(commit: Commit) -> str:
    from contracts import layout

    return layout.commit(commit.run, commit.shard)


OK: tuple[Ending, Ending, Ending] = ("ok", "ok", "ok")


def no_answer_to_the_commit(p: Protocol) -> None:
    worker = p.deliver(0, OK, keep=False)
    worker.advance("create", "after")
    worker.advance()


def a_lost_reply_to_the_commit(p: Protocol) -> None:
    """The store has written, repeats the request by itself, and is told that the object exists."""
    worker = p.deliver(0, OK, keep=False)
    worker.advance("create", "lied")
    worker.advance()


def two_attempts_at_once(p: Protocol) -> None:
    late = p.deliver(0, OK, keep=True)
    while not any("/data/" in key for key in p.world.objects):
        late.advance(1)
    p.world.pass_time(31, [])
    p.deliver(0, OK, keep=False).advance()
    late.advance()


def a_loader_that_wakes_up_late(p: Protocol) -> None:
    for _ in range(2):
        p.deliver(0, OK, keep=False).advance()
    p.alive()[0].advance()
    late = p.deliver(0, OK, keep=True)
    late.advance("copy")
    p.world.pass_time(31, [])
    p.deliver(0, OK, keep=False).advance()
    late.advance()


def a_whole_run(p: Protocol) -> None:
    p.finish()


HISTORIES = [
    (trusts_that_it_exists, a_lost_reply_to_the_commit, "which is gone"),
    (gives_up_on_silence, no_answer_to_the_commit, "which is gone"),
    (writes_over_commits, two_attempts_at_once, "was changed"),
    (publishes_without_the_fence, a_loader_that_wakes_up_late, "published twice"),
    (closes_without_receipts, a_whole_run, "has no receipt"),
]


def told(history: Callable[[Protocol], None]) -> None:
    protocol = Protocol("append", ("w",))
    try:
        protocol.submit()
        protocol.watch("run-1", 1).advance()
        history(protocol)
        protocol.check()
    finally:
        protocol.close()


@pytest.mark.parametrize(("broken", "history", "says"), HISTORIES)
def test_one_history_tells_a_broken_protocol_from_ours(
    broken: Callable[[Patch], None],
    history: Callable[[Protocol], None],
    says: str,
    monkeypatch: Patch,
) -> None:
    told(history)
    broken(monkeypatch)
    with pytest.raises(AssertionError, match=says):
        told(history)


def test_a_load_of_a_table_sets_no_cursor_of_another_that_shares_its_shards(
    monkeypatch: Patch,
) -> None:
    """The rows of the other are not in yet: the next run would never fetch them."""

    def load_one_of_two() -> None:
        p = Protocol("incremental", ("w",), ("p", "q"))
        try:
            p.submit()
            p.watch("run-1", 1).advance()
            for _ in range(2):
                p.deliver(0, OK, keep=False).advance()
            p.alive()[0].advance()
            p.deliver(0, OK, keep=False).advance()
            assert [o.holding("w").publishes for o in p.oracles.values()] == [1, 0]
            p.check()
        finally:
            p.close()

    load_one_of_two()
    monkeypatch.setattr(outcomes, "of_table", lambda shard, commit, _table: (shard, commit))
    with pytest.raises(AssertionError, match=r"w has cursors .*q a"):
        load_one_of_two()
