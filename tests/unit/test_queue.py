"""Messages: what is put on the queue, and that nothing else is taken from it."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InputError
from contracts.queue import Message

RUNS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", fullmatch=True)
NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=50)
SHARDS = st.builds("{:02d}-{:07d}".format, st.integers(1, 999), st.integers(0, 10**8))

MESSAGES = st.one_of(
    st.builds(lambda run, shard: Message("shard", run, shard=shard), RUNS, SHARDS),
    st.builds(lambda run, to: Message("prepare", run, destination=to), RUNS, NAMES),
    st.builds(
        lambda run, to, source, table, n: Message("load", run, "", to, source, table, n),
        RUNS,
        NAMES,
        NAMES,
        NAMES,
        st.integers(0, 1000),
    ),
)

SHARD = {"kind": "shard", "run": "r", "shard": "01-0000001"}
LOAD = {"kind": "load", "run": "r", "destination": "d", "source": "s", "table": "t", "round": 1}


@given(MESSAGES)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    assert Message.from_bytes(message.to_bytes()) == message
    assert Message.from_bytes(message.to_bytes().decode()) == message


@given(
    st.binary()
    | st.recursive(st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(), st.lists).map(
        orjson.dumps
    )
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        Message.from_bytes(data)


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        "shard",
        {**SHARD, "kind": "delete"},
        {**SHARD, "kind": ["shard"]},
        {**SHARD, "more": 1},
        {"kind": "shard", "run": "r"},
        {**SHARD, "run": "../../etc"},
        {**SHARD, "run": ""},
        {**SHARD, "run": 7},
        {**SHARD, "shard": "1"},
        {**SHARD, "shard": "01-0000001/../x"},
        {**SHARD, "shard": None},
        {**LOAD, "round": "1"},
        {**LOAD, "round": True},
        {**LOAD, "round": 1.0},
        {**LOAD, "table": None},
        {**LOAD, "table": {"$ref": "x"}},
    ],
)
def test_a_malformed_message_is_refused_without_being_shown(document: object) -> None:
    with pytest.raises(InputError, match=r"it was dropped|not a run id|not a shard id"):
        Message.from_bytes(orjson.dumps(document))


def test_a_message_holds_names_and_nothing_else() -> None:
    assert orjson.loads(Message("shard", "r", shard="01-0000001").to_bytes()) == SHARD
    assert orjson.loads(Message("load", "r", "", "d", "s", "t", 1).to_bytes()) == LOAD
    assert orjson.loads(Message("prepare", "r", destination="d").to_bytes()) == {
        "kind": "prepare",
        "run": "r",
        "destination": "d",
    }


def test_jobs_of_a_run_are_told_apart() -> None:
    jobs = [
        Message("shard", "r", shard="01-0000001").job,
        Message("shard", "r", shard="02-0000001").job,
        Message("prepare", "r", destination="d").job,
        Message("load", "r", "", "d", "s", "t", 1).job,
        Message("load", "r", "", "d", "s", "t", 2).job,
        Message("load", "r", "", "e", "s", "t", 1).job,
    ]
    assert len(set(jobs)) == len(jobs)
