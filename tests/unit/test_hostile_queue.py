"""What stands in the broker and is no message of ours: told apart before Celery sees it."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.fleet.envelope import flaw
from contracts.fleet.names import TASK
from contracts.queue import Message

TEXT = Message("shard", "r", shard="01-0000001").to_bytes().decode()
AROUND = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
GOOD: dict[str, Any] = {
    "body": base64.b64encode(json.dumps([[TEXT], {}, AROUND]).encode()).decode(),
    "content-encoding": "utf-8",
    "content-type": "application/json",
    "headers": {"lang": "py", "task": TASK, "id": "i", "root_id": "i", "parent_id": None},
    "properties": {
        "correlation_id": "i",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": "shards"},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": "t",
    },
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def changed(path: str, value: Any) -> bytes:
    envelope = copy.deepcopy(GOOD)
    *above, last = path.split("/")
    place = envelope
    for step in above:
        place = place[step]
    place[last] = value
    return json.dumps(envelope).encode()


def body(value: Any) -> bytes:
    return changed("body", base64.b64encode(json.dumps(value).encode()).decode())


def test_a_message_of_ours_has_no_flaw_also_when_it_comes_again() -> None:
    assert flaw(json.dumps(GOOD)) == ""
    again = copy.deepcopy(GOOD)
    again["headers"]["redelivered"] = True
    again["properties"]["delivery_info"]["redelivered"] = True
    assert flaw(json.dumps(again)) == ""
    assert flaw(changed("headers/traceparent", "00-abc-01")) == ""


FLAWS = {
    "plain text": b"hello",
    "nothing": b"",
    "no UTF-8": b"\xff\xfe\x00",
    "a number": b"1",
    "a list": b"[]",
    "deep": b"[" * 50_000,
    "huge": b'"' + b"x" * 100_000 + b'"',
    "an empty object": b"{}",
    "a pickle": changed("content-type", "application/x-python-serialize"),
    "YAML": changed("content-type", "application/x-yaml"),
    "another encoding": changed("content-encoding", "rot13"),
    "no headers": changed("headers", None),
    "another task": changed("headers/task", "os.system"),
    "a task of no name": changed("headers/task", ["x"]),
    "a task of odd characters": changed("headers/task", "\x01" * 80),
    "an id that is no text": changed("headers/id", 7),
    "a time to wait for": changed("headers/eta", "2999-01-01T00:00:00"),
    "an end": changed("headers/expires", "x"),
    "compressed": changed("headers/compression", "application/x-gzip"),
    "a time limit": changed("headers/timelimit", [1, 1]),
    "no tag": changed("properties/delivery_tag", None),
    "no base64": changed("properties/body_encoding", "utf-8"),
    "another exchange": changed("properties/delivery_info", {"exchange": "x", "routing_key": "shards"}),
    "another queue": changed("properties/delivery_info", {"exchange": "", "routing_key": "x"}),
    "a queue that is no text": changed("properties/delivery_info", {"exchange": "", "routing_key": ["x"]}),
    "a typed value": changed("properties/__type__", "uuid"),
    "a nested value": changed("properties/reply_to", {"__type__": "uuid", "__value__": 1}),
    "a body that is not base64": changed("body", "%%%"),
    "a body that is not JSON": changed("body", base64.b64encode(b"x").decode()),
    "a body of two texts": body([[TEXT, TEXT], {}, AROUND]),
    "a body with a named argument": body([[TEXT], {"heart": 1}, AROUND]),
    "a body with a task to follow": body([[TEXT], {}, {"chain": [{"task": "x"}]}]),
    "a body of no text": body([[1], {}, AROUND]),
    "half a body": body([[TEXT]]),
}  # fmt: skip


@pytest.mark.parametrize("name", FLAWS)
def test_what_is_no_message_of_ours_has_a_flaw(name: str) -> None:
    why = flaw(FLAWS[name])
    assert why
    assert len(why) < 200


PLACES = [
    *GOOD,
    *(f"headers/{name}" for name in ("task", "id", "eta", "retries")),
    *(f"properties/{name}" for name in GOOD["properties"]),
]


@given(st.sampled_from(PLACES), JSON)
def test_no_change_of_a_message_raises(place: str, value: Any) -> None:
    assert isinstance(flaw(changed(place, value)), str)


@given(st.binary(max_size=200))
def test_no_bytes_raise(raw: bytes) -> None:
    assert flaw(raw)
