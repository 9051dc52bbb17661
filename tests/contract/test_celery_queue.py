"""The fleet's queue: Celery workers in processes of their own, on a real Redis."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contracts.errors import Denied, Exit, InputError, Unreachable
from contracts.fleet import CeleryQueue, RedisHeart, check, masked, serve
from contracts.fleet.names import TASK
from contracts.queue import Message, Queue
from tests.fakes.ear import Ear
from tests.fakes.fleet_worker import FleetWorker
from tests.fakes.servers import ROOT, Redis, free_port, running
from tests.suites.queue import QueueSuite, shards

pytestmark = pytest.mark.redis


class TestCeleryQueue(QueueSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def ear(cls) -> Iterator[Ear]:
        with Ear() as ear:
            yield ear

    @pytest.fixture(scope="class")
    @classmethod
    def queue(cls, ear: Ear, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
        home = tmp_path_factory.mktemp("fleet")
        for redis in running(Redis):
            with (
                FleetWorker(redis.url, "shards", ear, home),
                FleetWorker(redis.url, "loads", ear, home),
            ):
                queue = CeleryQueue(redis.url)
                yield queue
                queue.close()


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as ear:
        yield ear


@pytest.fixture
def queue(redis_url: str) -> Iterator[CeleryQueue]:
    queue = CeleryQueue(redis_url)
    yield queue
    queue.close()


@pytest.fixture
def start(redis_url: str, ear: Ear, tmp_path: Path) -> Iterator[Callable[..., FleetWorker]]:
    started: list[FleetWorker] = []

    def start(queue: str = "shards", processes: int = 1) -> FleetWorker:
        started.append(FleetWorker(redis_url, queue, ear, tmp_path, processes=processes))
        return started[-1]

    yield start
    for worker in started:
        worker.kill()


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    """A Redis that the test may kill."""
    yield from running(Redis)


@pytest.fixture(scope="module")
def locked() -> Iterator[Redis]:
    """A Redis with a password."""
    yield from running(lambda: Redis(password="right"))


def put_one(queue: CeleryQueue) -> None:
    queue.put(shards(1))


def unacked(url: str) -> int:
    import redis

    with redis.from_url(url) as client:
        return int(client.hlen("unacked"))


def test_a_killed_process_gives_its_shard_back_and_the_node_goes_on(
    queue: CeleryQueue, ear: Ear, start: Callable[..., FleetWorker]
) -> None:
    start()
    (message,) = shards(1)
    queue.put([message])
    call = ear.hear()
    call.order("beat", "attempt-1")
    os.kill(call.pid, signal.SIGKILL)
    again = ear.hear()
    assert again.message == message
    assert again.pid != call.pid
    # The beat of the dead attempt would keep the second one from working.
    assert again.order("fresh") is False
    again.finish()


def test_sigterm_hands_the_running_shard_back_at_once(
    queue: CeleryQueue, redis_url: str, ear: Ear, start: Callable[..., FleetWorker]
) -> None:
    worker = start()
    messages = shards(2)
    queue.put(messages)
    call = ear.hear()
    call.order("beat", "attempt-1")
    assert unacked(redis_url) == 1
    assert worker.terminate() == Exit.OK
    assert (queue.waiting(), unacked(redis_url), queue.workers()) == (2, 0, 0)
    assert queue.beats(messages[0].run, [messages[0].job]) == {}
    start()
    heard = []
    for _ in messages:
        again = ear.hear()
        assert again.order("fresh") is False
        heard.append(again.message)
        again.finish()
    assert set(heard) == set(messages)


def test_an_idle_worker_ends_at_sigterm(
    queue: CeleryQueue, ear: Ear, start: Callable[..., FleetWorker]
) -> None:
    worker = start()
    queue.put(shards(1))
    ear.hear().finish()
    assert worker.terminate() == Exit.OK
    assert queue.workers() == 0


def test_a_handled_message_is_acknowledged(
    queue: CeleryQueue, redis_url: str, ear: Ear, start: Callable[..., FleetWorker]
) -> None:
    start()
    queue.put(shards(3))
    for _ in range(3):
        call = ear.hear()
        # Only the one that is being handled: its predecessors are gone.
        assert unacked(redis_url) == 1
        call.finish()


def test_a_worker_takes_no_more_messages_than_it_has_processes(
    queue: CeleryQueue, ear: Ear, start: Callable[..., FleetWorker]
) -> None:
    start(processes=2)
    queue.put(shards(6))
    calls = [ear.hear(), ear.hear()]
    assert queue.workers() == 2
    assert queue.waiting() == 4
    for call in calls:
        call.finish()
    for _ in range(4):
        ear.hear().finish()


def test_presence_expires_with_a_killed_node(
    queue: CeleryQueue, redis_url: str, ear: Ear, start: Callable[..., FleetWorker]
) -> None:
    import redis

    worker = start()
    queue.put(shards(1))
    ear.hear()
    worker.kill()
    with redis.from_url(redis_url) as client:
        (key,) = client.keys("sharder:worker:shards:*")
        assert 0 < client.ttl(key) <= 30


def test_the_liveness_file_is_there_while_messages_are_consumed(
    queue: CeleryQueue, ear: Ear, start: Callable[..., FleetWorker]
) -> None:
    worker = start()
    queue.put(shards(1))
    ear.hear().finish()
    assert worker.alive.exists()


@pytest.mark.parametrize(
    "garbage", ["not json", '{"kind": "shard", "run": "r"}', '{"kind": "evil", "run": "../x"}', ""]
)
def test_a_malformed_message_is_dropped_and_the_next_one_handled(
    queue: CeleryQueue,
    redis_url: str,
    ear: Ear,
    start: Callable[..., FleetWorker],
    garbage: str,
) -> None:
    from celery import Celery

    with Celery(broker=redis_url, set_as_current=False) as app:
        app.send_task(TASK, (garbage,), queue="shards")
        app.send_task("os.system", ("true",), queue="shards")
    (message,) = shards(1)
    queue.put([message])
    worker = start()
    call = ear.hear()
    assert call.message == message
    assert unacked(redis_url) == 1
    call.finish()
    worker.kill()
    assert "os.system" in worker.log.read_text()


def test_a_restarted_broker_gets_its_workers_back(
    own_redis: Redis, ear: Ear, tmp_path: Path
) -> None:
    queue = CeleryQueue(own_redis.url)
    with FleetWorker(own_redis.url, "shards", ear, tmp_path):
        queue.put(shards(1))
        call = ear.hear()
        own_redis.kill()
        with pytest.raises(Unreachable, match=rf"127.0.0.1:{own_redis.port}.* does not answer"):
            queue.put(shards(1))
        with pytest.raises(Unreachable):
            queue.waiting()
        own_redis.start()
        call.finish()
        again = shards(1)
        queue.put(again)
        # Whatever else the broker hands out again, this one comes.
        while (call := ear.hear()).message != again[0]:
            call.finish()
        call.finish()
    queue.close()


def test_a_heartbeat_that_cannot_be_written_does_not_fail_the_attempt() -> None:
    heart = RedisHeart(f"redis://127.0.0.1:{free_port()}/0")
    heart.beat("run", "job", "attempt")
    assert heart.fresh("run", "job") is False
    heart.stop("run", "job")
    heart.close()


def test_a_heartbeat_expires_and_belongs_to_its_attempt(redis_url: str, queue: CeleryQueue) -> None:
    import redis

    (message,) = shards(1)
    one, two = RedisHeart(redis_url), RedisHeart(redis_url)
    one.beat(message.run, message.job, "a:1")
    assert two.fresh(message.run, message.job)
    assert not one.fresh(message.run, message.job)
    two.stop(message.run, message.job)
    assert queue.beats(message.run, [message.job]) == {message.job: "a:1:1"}
    two.beat(message.run, message.job, "b")
    assert one.fresh(message.run, message.job)
    assert queue.beats(message.run, [message.job]) == {message.job: "b:1"}
    with redis.from_url(redis_url) as client:
        assert 0 < client.ttl(f"sharder:beat:{message.run}:{message.job}") <= 30
    two.stop(message.run, message.job)
    assert queue.beats(message.run, [message.job]) == {}
    one.close()
    two.close()


def test_a_broker_that_is_not_there_is_said_without_its_password(tmp_path: Path) -> None:
    url = f"redis://me:hush@127.0.0.1:{free_port()}/0"
    queue = CeleryQueue(url)
    for use in (
        lambda: queue.put(shards(1)),
        queue.waiting,
        queue.workers,
        lambda: queue.beats("r", ["j"]),
        lambda: check(url),
        lambda: serve(url, "shards", lambda *_: None),
    ):
        with pytest.raises(Unreachable, match=r"the broker redis://me:\*\*\*@127") as caught:
            use()
        assert "hush" not in str(caught.value)
        assert caught.value.exit_code == Exit.OUTSIDE
    queue.close()


@pytest.mark.parametrize("secret", ["", ":wrong@", "user:wrong@"])
@pytest.mark.parametrize("ask", [CeleryQueue.waiting, CeleryQueue.workers, put_one])
def test_a_wrong_password_is_said_without_it(
    locked: Redis, secret: str, ask: Callable[[CeleryQueue], object]
) -> None:
    queue = CeleryQueue(f"redis://{secret}127.0.0.1:{locked.port}/0")
    with pytest.raises(Denied, match="refused the password") as caught:
        ask(queue)
    assert "wrong" not in str(caught.value)
    queue.close()


def test_the_right_password_opens_the_broker(locked: Redis) -> None:
    check(locked.url)
    queue = CeleryQueue(locked.url)
    put_one(queue)
    assert queue.waiting() == 1
    queue.close()


def test_a_full_broker_is_said() -> None:
    options = ("--maxmemory", "1500kb", "--maxmemory-policy", "noeviction")
    for redis in running(lambda: Redis(options=options)):
        queue = CeleryQueue(redis.url)
        many = shards(20_000)
        with pytest.raises(Unreachable, match="takes no messages"):
            queue.put(many)
        queue.close()


@pytest.mark.parametrize("url", ["amqp://host", "host:6379", "redis://host:port/0"])
def test_a_broker_that_is_not_redis_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="redis://host:6379/0"):
        CeleryQueue(url)


def test_the_password_is_masked_and_the_rest_kept() -> None:
    assert masked("redis://host:6379/0") == "redis://host:6379/0"
    assert masked("rediss://me:p%40ss@[::1]:6379/0?x=1") == "rediss://me:***@[::1]:6379/0?x=1"


@pytest.mark.parametrize("program", ["worker", "loader"])
def test_the_parent_process_imports_nothing_that_starts_threads(program: str) -> None:
    code = (
        f"import sys, {program}.cli, {program}.tasks, contracts.fleet.steps, celery.apps.worker\n"
        "from contracts.fleet.app import application\n"
        "app = application('redis://127.0.0.1:1/0', 'shards')\n"
        "app.finalize(); app.Worker\n"
        "heavy = {'grpc', 'pyarrow', 'duckdb', 'boto3', 'botocore', 'obstore', 'numpy', 'pydantic'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_importing_the_seam_imports_no_broker_library() -> None:
    code = (
        "import sys, contracts.fleet, worker.tasks, loader.tasks\n"
        "print(sorted({'celery', 'kombu', 'redis'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_more_messages_than_one_batch_are_put_in_order(redis_url: str, queue: CeleryQueue) -> None:
    import redis

    messages = shards(2_500)
    queue.put(messages)
    assert queue.waiting() == 2_500
    with redis.from_url(redis_url) as client:
        # Taken from the right.
        raw = reversed(client.lrange("shards", 0, -1))
    texts = [json.loads(base64.b64decode(json.loads(r)["body"]))[0][0] for r in raw]
    assert texts == [m.to_bytes().decode() for m in messages]


def test_messages_of_every_kind_are_readable_by_celery(redis_url: str) -> None:
    """The broker holds what Celery itself would have written, and no more than names."""
    import redis

    queue = CeleryQueue(redis_url)
    message = Message("prepare", "run-1", destination="dst")
    queue.put([message])
    queue.close()
    with redis.from_url(redis_url) as client:
        (raw,) = client.lrange("loads", 0, -1)
    envelope = json.loads(raw)
    args, kwargs, _ = json.loads(base64.b64decode(envelope["body"]))
    assert (args, kwargs) == ([message.to_bytes().decode()], {})
    assert envelope["headers"]["task"] == TASK
    assert len(raw) < 1200


RUBBISH = [
    b"hello",
    b"",
    b"\xff\xfe\x00\x80",
    b"[" * 100_000,
    b"{}",
    b"null",
    b'{"properties": {}}',
    b'{"body": "!!!", "properties": {"delivery_tag": "t", "body_encoding": "base64"}}',
]


def _of_pickle(raw: bytes) -> bytes:
    """One of our messages whose body claims to be a pickle that would run a command."""
    envelope = json.loads(raw)
    envelope["content-type"] = "application/x-python-serialize"
    envelope["body"] = base64.b64encode(b"cos\nsystem\n(S'true'\ntR.").decode()
    return json.dumps(envelope).encode()


def test_rubbish_in_the_list_is_dropped_and_the_worker_lives(
    queue: CeleryQueue, redis_url: str, ear: Ear, start: Callable[..., FleetWorker]
) -> None:
    import redis

    worker = start()
    with redis.from_url(redis_url) as client:
        queue.put(shards(1))
        call = ear.hear()
        (held,) = client.hvals("unacked")
        mine = json.dumps(json.loads(held)[0]).encode()
        call.finish()
        client.lpush("shards", *RUBBISH, _of_pickle(mine))
    messages = shards(2)
    queue.put(messages)
    for message in messages:
        again = ear.hear()
        assert again.message == message
        again.finish()
    assert worker.process.poll() is None
    assert worker.log.read_text().count("event=message_dropped") == len(RUBBISH) + 1
    assert worker.terminate() == Exit.OK
    assert unacked(redis_url) == 0
