"""What every Queue does.

Bind it in a class with two fixtures of class scope: `ear` (tests/fakes/ear.py) and `queue`, a queue
with one process that takes shards and one that takes prepare and load messages, both handling them
with `tests.fakes.ear.handle` in the environment `ear.environment()`.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import uuid4

from contracts.queue import Message, Queue
from tests.fakes.ear import Ear


def shards(count: int, run: str = "") -> list[Message]:
    run = run or uuid4().hex
    return [Message("shard", run, shard=f"01-{n:07d}") for n in range(count)]


def load(run: str) -> Message:
    return Message("load", run, destination="dst", source="naïve “src”", table="t t", round=2)


class QueueSuite:
    def test_every_message_arrives_once_as_it_was_put_in_order(
        self, queue: Queue, ear: Ear
    ) -> None:
        messages = shards(5)
        queue.put(messages[:2])
        queue.put([])
        queue.put(messages[2:])
        heard = []
        for _ in messages:
            call = ear.hear()
            heard.append(call.data)
            call.finish()
        assert heard == [m.to_bytes() for m in messages]
        assert queue.waiting() == 0

    def test_a_shard_does_not_hold_up_a_load(self, queue: Queue, ear: Ear) -> None:
        (shard,) = shards(1)
        queue.put([shard, load(shard.run)])
        calls = [ear.hear(), ear.hear()]
        assert {c.message for c in calls} == {shard, load(shard.run)}
        assert calls[0].pid != calls[1].pid
        for call in calls:
            call.finish()

    def test_a_prepare_message_goes_to_the_loader(self, queue: Queue, ear: Ear) -> None:
        (shard,) = shards(1)
        prepare = Message("prepare", shard.run, destination="dst")
        queue.put([shard, prepare])
        calls = [ear.hear(), ear.hear()]
        assert {c.message for c in calls} == {shard, prepare}
        for call in calls:
            call.finish()

    def test_waiting_counts_what_nobody_has_taken(self, queue: Queue, ear: Ear) -> None:
        queue.put(shards(4))
        call = ear.hear()
        assert queue.waiting() == 3
        call.finish()
        call = ear.hear()
        assert queue.waiting() == 2
        call.finish()
        for _ in range(2):
            ear.hear().finish()

    def test_a_heartbeat_changes_while_the_attempt_is_alive_and_ends_with_it(
        self, queue: Queue, ear: Ear
    ) -> None:
        message, other = shards(2)
        queue.put([message, other])
        call = ear.hear()
        jobs = [message.job, other.job]
        last: Mapping[str, str] = {}
        for _ in range(3):
            call.order("beat", "attempt-1")
            while (beats := queue.beats(message.run, jobs)) == last:
                continue  # the beat is still on its way
            assert beats.keys() == {message.job}
            last = beats
        assert queue.beats("another-run", jobs) == {}
        assert queue.beats(message.run, []) == {}
        call.order("stop")
        call.finish()
        call = ear.hear()
        assert message.job not in queue.beats(message.run, jobs)
        call.finish()

    def test_an_attempt_is_not_kept_from_work_by_its_own_heartbeat(
        self, queue: Queue, ear: Ear
    ) -> None:
        (message,) = shards(1)
        queue.put([message])
        call = ear.hear()
        assert call.order("fresh") is False
        call.order("beat", "attempt-1")
        assert call.order("fresh") is False
        call.order("stop")
        assert call.order("fresh") is False
        call.finish()

    def test_heartbeats_of_loads_are_told_apart(self, queue: Queue, ear: Ear) -> None:
        message = load(uuid4().hex)
        queue.put([message])
        call = ear.hear()
        call.order("beat", "a")
        other = Message("load", message.run, "", "dst", message.source, "t t", 3)
        while not (beats := queue.beats(message.run, [message.job, other.job])):
            continue  # the beat is still on its way
        assert beats.keys() == {message.job}
        call.order("stop")
        call.finish()

    def test_workers_counts_the_processes_that_take_shards(self, queue: Queue, ear: Ear) -> None:
        queue.put(shards(1))
        call = ear.hear()
        assert queue.workers() == 1
        call.finish()

    def test_a_handler_that_fails_does_not_stop_the_next_message(
        self, queue: Queue, ear: Ear
    ) -> None:
        first, second = shards(2)
        queue.put([first, second])
        call = ear.hear()
        assert call.message == first
        call.crash()
        call = ear.hear()
        assert call.message == second
        call.finish()
