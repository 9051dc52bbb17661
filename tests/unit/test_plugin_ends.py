"""How the cells of a plugin's client end, and under which keys its state is kept."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Permanent, Unreachable
from contracts.table import Column, Table
from worker.sources.plugin.ends import Trouble, ends
from worker.sources.plugin.keys import ours, theirs

ORDERS = Table("orders", (Column("id", pa.int64(), primary_key=True),))
LINES = replace(ORDERS, name="lines", parent="orders")
EVENTS = replace(ORDERS, name="events", incremental=True)
QUIET = Trouble()
TREE = (ORDERS, LINES, EVENTS)
ALL = frozenset(t.name for t in TREE)


def outcome(trouble=QUIET, tree=TREE, selected=ALL, cursor=None):
    found = list(ends(tree, selected, "acme", trouble, cursor or {}))
    assert [e.table for e in found] == [t.name for t in tree if t.name in selected]
    assert {e.client for e in found} == {"acme"}
    return {e.table: e for e in found}


def test_without_trouble_every_selected_table_is_ok():
    assert {e.outcome for e in outcome().values()} == {"ok"}
    assert set(outcome(selected=frozenset({"orders"}))) == {"orders"}


def test_a_table_that_the_plugin_gave_up_fails_alone():
    found = outcome(Trouble({"lines": "AccessDenied: not yours"}))
    assert [found[t].outcome for t in ("orders", "lines", "events")] == ["ok", "failed", "ok"]
    assert (found["lines"].reason, found["lines"].message) == ("denied", "AccessDenied: not yours")


def test_an_error_of_no_table_fails_them_all():
    found = outcome(Trouble(common="the plugin logged an error: boom"))
    assert {(e.outcome, e.reason) for e in found.values()} == {("failed", "failed")}


def test_a_stream_that_broke_fails_what_has_no_words_of_its_own():
    class Killed(Permanent):
        reason = "memory"

    found = outcome(Trouble({"orders": "429 Too Many Requests"}, broken=Killed("exit code 137")))
    assert (found["orders"].reason, found["lines"].reason) == ("throttled", "memory")
    assert outcome(Trouble(broken=Unreachable("gone")))["lines"].message == "gone"


def test_the_state_goes_with_the_incremental_table_and_not_past_a_failed_one():
    tree = (replace(ORDERS, incremental=True), LINES)
    assert outcome(tree=tree, cursor={"k": "9"})["orders"].cursor == {"k": "9"}
    failed = outcome(Trouble({"lines": "boom"}), tree=tree, cursor={"k": "9"})
    assert {e.outcome for e in failed.values()} == {"failed"}
    assert not any(e.cursor for e in failed.values())
    assert "the state of the plugin covers both" in failed["orders"].message


@pytest.mark.parametrize(
    ("key", "kept"),
    [
        ("orders-acme", "orders-acme"),
        ("acme:eu:orders", "acme:eu:orders"),
        ("orders", "acme/orders"),
        ("acmeous", "acme/acmeous"),
    ],
)
def test_a_key_that_does_not_name_its_client_is_kept_with_it(key, kept):
    assert ours({key: "1"}, "acme", split=True) == {kept: "1"}
    assert ours({key: "1"}, "acme", split=False) == {key: "1"}


def test_a_state_that_was_kept_for_all_clients_is_continued_until_there_is_an_own_one():
    assert theirs({"orders": "5"}, "acme", split=True)["orders"] == "5"
    known = {"orders": "5", "acme/orders": "7", "other/orders": "1"}
    assert theirs(known, "acme", split=True)["orders"] == "7"


keys = st.dictionaries(st.text(max_size=8), st.text(max_size=3), max_size=5)


@given(written=keys, clients=st.lists(st.text(min_size=1, max_size=3), min_size=2, unique=True))
def test_every_client_finds_what_it_wrote(written, clients):
    common = {k: v for k, v in written.items() if not any(c in k for c in clients)}
    kept = {}
    for n, client in enumerate(clients):
        kept |= ours({k: f"{v}{n}" for k, v in common.items()}, client, split=True)
    for n, client in enumerate(clients):
        found = theirs(kept, client, split=True)
        assert {k: found[k] for k in common} == {k: f"{v}{n}" for k, v in common.items()}
