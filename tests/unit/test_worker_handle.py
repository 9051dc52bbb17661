"""Bytes in, an attempt out; whatever is wrong with a message is logged and never raised."""

from __future__ import annotations

import logging
import time

import pytest

from contracts.queue import Message
from contracts.stage import Stage
from contracts.store.local import LocalStore
from tests.fakes.hackernews import FakeHackerNews, Forum
from tests.fakes.runs import RUN, Steady, local_stage, write_run
from worker import handle as handler
from worker.opened import Opened, OpenedSources
from worker.sources.hackernews.source import ITEMS


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch, tmp_path):
    monkeypatch.setenv("SHARDER_STAGE", str(tmp_path))
    handler.stage_of_process.cache_clear()
    handler.sources_of_process.cache_clear()
    yield
    handler.sources_of_process().close()
    handler.stage_of_process.cache_clear()
    handler.sources_of_process.cache_clear()


@pytest.fixture
def hackernews():
    with FakeHackerNews(Forum(count=50, newest=int(time.time()))) as server:
        yield server


def plan(stage, url, **more) -> Message:
    spec = {"base_url": url, "item_concurrency": 2}
    (message,) = write_run(
        stage, [ITEMS], ["hackernews"], path="cloudquery/hackernews", spec=spec, **more
    )
    return message


def test_a_message_becomes_a_commit(tmp_path, hackernews):
    stage = local_stage(tmp_path)
    handler.handle(plan(stage, hackernews.url).to_bytes(), Steady())
    assert stage.commit(RUN, "01-0000000").rows == 50


def test_a_source_is_opened_once_for_many_shards_of_a_run(tmp_path, hackernews):
    stage = local_stage(tmp_path)
    for round_ in (1, 2):
        handler.handle(plan(stage, hackernews.url, round_=round_).to_bytes(), Steady())
        assert stage.committed(RUN, f"0{round_}-0000000")
    assert len(handler.sources_of_process()._idle) == 1


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b'{"kind":"shard"}', b'{"kind":"shard","run":"../x","shard":"01-0000000"}',
     b'{"kind":"prepare","run":"r","destination":"w"}'],
)  # fmt: skip
def test_a_message_that_is_not_ours_is_dropped(data, caplog):
    with caplog.at_level(logging.INFO):
        handler.handle(data, Steady())
    assert "event=message_dropped" in caplog.text


def test_an_attempt_that_fails_is_logged(tmp_path, caplog):
    stage = local_stage(tmp_path)
    message = plan(stage, "http://127.0.0.1:9")
    stage.store.delete([f"runs/{RUN}/spec/0.yml"])
    handler.handle(message.to_bytes(), Steady())
    assert f"event=attempt_failed run={RUN} shard=01-0000000" in caplog.text


def test_a_bug_is_logged_with_its_trace(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(Stage, "committed", lambda *a: 1 / 0)
    handler.handle(plan(local_stage(tmp_path), "http://x").to_bytes(), Steady())
    assert "ZeroDivisionError" in caplog.text


def opened(log: list[int], n: int) -> Opened:
    made = Opened()

    class Closing:
        def close(self) -> None:
            log.append(n)

    made.source = Closing()
    return made


def test_the_source_used_longest_ago_is_closed_when_there_are_too_many():
    closed: list[int] = []
    sources = OpenedSources(kept=2)
    for n in range(4):
        key = ("r", f"s{n}", 0)
        sources.give_back(key, sources.take(key, lambda n=n: opened(closed, n)))
    assert closed == [0, 1]
    sources.close()
    assert closed == [0, 1, 2, 3]


def test_two_attempts_at_once_have_a_source_each():
    closed: list[int] = []
    sources = OpenedSources()
    key = ("r", "s", 0)
    one, two = (sources.take(key, lambda n=n: opened(closed, n)) for n in range(2))
    assert one is not two
    sources.give_back(key, one)
    sources.give_back(key, two)
    assert closed == [0]
    assert sources.take(key, lambda: opened(closed, 9)) is two


def test_the_stage_is_made_once_per_process(tmp_path):
    assert handler.stage_of_process(str(tmp_path)) is handler.stage_of_process(str(tmp_path))
    assert isinstance(handler.stage_of_process(str(tmp_path)).store, LocalStore)
