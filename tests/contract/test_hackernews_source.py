"""The Source suite on hackernews, and what is its own: bisection, checkpoints, retries."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from contracts.errors import Denied
from tests.fakes.hackernews import Failure, FakeHackerNews, Forum
from tests.suites.source import NOW, SourceSuite, context, frozen, read
from worker.sources import hackernews
from worker.sources.base import Checkpoint
from worker.sources.hackernews.options import Options

(TREE,) = frozen(hackernews.open({}, context())).values()
CLIENTS = ["hackernews"]


@pytest.fixture
def forum():
    return Forum(count=2345, newest=int(NOW.timestamp()))


@pytest.fixture
def server(forum):
    with FakeHackerNews(forum) as server:
        yield server


@pytest.fixture
def open_source(server):
    opened = []

    def open_(spec=None, **changes):
        given = {"base_url": server.url, "item_concurrency": 8} | (spec or {})
        opened.append(hackernews.open(given, context(**changes)))
        return opened[-1]

    yield open_
    for source in opened:
        source.close()


class TestHackerNews(SourceSuite):
    @pytest.fixture
    def source(self, open_source):
        return open_source()


def test_a_first_run_reads_every_item_since_the_start_time(open_source, forum):
    reading = read(open_source({"start_time": "30 minutes ago"}), TREE, CLIENTS)
    ids = set(reading.table(TREE[0])["id"].to_pylist())
    since = NOW.timestamp() - 1800
    assert ids == {n for n in range(1, 2346) if forum.exists(n) and forum.time_of(n) >= since}
    assert len(ids) > 1000


def test_the_state_is_the_last_id_and_the_next_run_asks_only_for_newer_ones(open_source, forum):
    first = read(open_source(), TREE, CLIENTS)
    assert first.cursors == {"hackernews_items": "2345"}
    forum.grow(10)
    forum.seen.clear()
    second = read(open_source(), TREE, CLIENTS, cursors=first.cursors)
    assert second.table(TREE[0])["id"].to_pylist() == list(range(2346, 2356))
    assert min(forum.seen) == 2346


def test_a_run_with_nothing_new_ends_ok_without_rows(open_source):
    reading = read(open_source(), TREE, CLIENTS, cursors={"hackernews_items": "2345"})
    assert reading.rows == {}
    assert reading.outcomes("hackernews_items") == {"hackernews": "ok"}


def test_a_checkpoint_follows_every_thousand_ids(open_source):
    reading = read(open_source(), TREE, CLIENTS)
    cursors = [e.cursor["hackernews_items"] for e in reading.events if isinstance(e, Checkpoint)]
    assert cursors == ["1000", "2000", "2345"]


def test_values_arrive_as_the_api_has_them(open_source, forum):
    reading = read(open_source(), TREE, CLIENTS)
    by_id = {row["id"]: row for row in reading.table(TREE[0]).to_pylist()}
    for number in (1, 7, 53, 1009):
        item = forum.item(number)
        row = by_id[number]
        assert row["time"] == datetime.fromtimestamp(item.pop("time"), UTC)
        assert {k: row[k] for k in item} == item


def test_a_failing_item_is_asked_again_five_times_ten_seconds_apart(open_source, forum):
    waits = []
    forum.failures = {5: Failure(503, 3), 6: Failure(429, 2, retry_after_s=77), 800: Failure(0, 5)}
    reading = read(open_source(sleep=waits.append), TREE, CLIENTS)
    assert reading.outcomes("hackernews_items") == {"hackernews": "ok"}
    assert {5, 6, 800} <= set(reading.table(TREE[0])["id"].to_pylist())
    assert sorted(waits)[-2:] == [77, 77]
    assert set(waits) == {10.0, 77}


def test_an_item_that_stays_away_fails_the_cell_and_keeps_the_last_checkpoint(open_source, forum):
    forum.failures = {1500: Failure(500, 1000)}
    reading = read(open_source(), TREE, CLIENTS)
    (end,) = reading.ends
    assert (end.outcome, end.reason) == ("failed", "failed")
    assert "item/1500.json answered 500" in end.message
    assert reading.cursors == {"hackernews_items": "1000"}
    assert forum.seen[1500] == 6


def test_a_missing_item_may_be_a_404_too(open_source, forum):
    forum.failures = {1500: Failure(404, 1000)}
    reading = read(open_source(), TREE, CLIENTS)
    assert reading.outcomes("hackernews_items") == {"hackernews": "ok"}
    assert 1500 not in reading.table(TREE[0])["id"].to_pylist()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Failure(410, 1), "answered 410"),
        (Failure(200, 99, body=b"{"), "is not JSON"),
        (Failure(200, 1, body=b"[]"), "is not an item"),
        (Failure(200, 1, body=b'{"id":"x"}'), "has another form"),
    ],
)
def test_an_answer_that_makes_no_sense_fails_the_cell_and_says_so(
    open_source, forum, answer, message
):
    forum.failures = {1500: answer}
    (end,) = read(open_source(), TREE, CLIENTS).ends
    assert end.outcome == "failed"
    assert message in end.message


def test_items_without_a_time_do_not_stop_the_search_for_the_first_one(open_source, forum):
    forum.count, forum.missing_every = 3, 1
    reading = read(open_source(), TREE, CLIENTS)
    assert reading.outcomes("hackernews_items") == {"hackernews": "ok"}
    assert reading.rows == {}


def test_a_denied_item_is_not_asked_again(open_source, forum):
    forum.failures = {1500: Failure(403, 1000)}
    (end,) = read(open_source(), TREE, CLIENTS).ends
    assert end.reason == Denied.reason
    assert forum.seen[1500] == 1


def test_a_cancelled_attempt_asks_no_more(open_source, forum):
    reading = read(open_source(cancelled=lambda: bool(forum.seen)), TREE, CLIENTS)
    assert reading.ends == []
    assert sum(forum.seen.values()) < 100


def test_a_state_that_is_no_id_says_what_to_do(open_source):
    (end,) = read(open_source(), TREE, CLIENTS, cursors={"hackernews_items": "x"}).ends
    assert end.outcome == "failed"
    assert "--full-refresh" in end.message


def test_an_unreachable_api_fails_the_cell(open_source):
    (end,) = read(open_source({"base_url": "http://127.0.0.1:9/v0"}), TREE, CLIENTS).ends
    assert "does not answer" in end.message


@pytest.mark.parametrize(("given", "meant"), [(0, 100), (-5, 100), (1, 1), (1000, 1000)])
def test_item_concurrency_is_read_as_cloudquery_does(given, meant):
    assert Options(item_concurrency=given).item_concurrency == meant


@pytest.mark.parametrize(
    "spec",
    [
        {"item_concurrency": 1001}, {"item_concurrency": "5"}, {"start_time": "yesterdayish"},
        {"base_url": "ftp://x"}, {"base_url": "nothing"}, {"concurrency": 5},
        {"start_time": "9999999 years ago"},
    ],
)  # fmt: skip
def test_wrong_options_are_refused(spec):
    with pytest.raises(ValidationError):
        Options.model_validate(spec)
