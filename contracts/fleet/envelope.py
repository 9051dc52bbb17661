"""What may stand in a queue: exactly what our own `CeleryQueue` puts there, looked at before Celery sees it.

Celery's parent process ends at some texts that are none of its messages, and obeys headers that say when
or how long a task may run. Whoever can write to the broker must not be able to stop workers with it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import orjson

from contracts.fleet.names import LOADS, SHARDS, TASK

MOST_BYTES = 64 << 10  # ours have about one thousand
_PARTS = {"body", "content-encoding", "content-type", "headers", "properties"}
# Of Celery's headers, those that would hold a task back or unpack its body.
_FORBIDDEN = ("eta", "expires", "compression")


def flaw(raw: bytes | str) -> str:
    """What is wrong with an element of the queue, without repeating it; empty for a message of ours."""
    if len(raw) > MOST_BYTES:
        return f"it has {len(raw)} bytes"
    try:
        envelope = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return "it is not JSON"
    if not isinstance(envelope, dict) or envelope.keys() != _PARTS:
        return "it has not the parts of a message"
    types = (envelope.get("content-type"), envelope.get("content-encoding"))
    if types != ("application/json", "utf-8"):
        return "its content is not JSON"
    return (
        _of_properties(envelope.get("properties"))
        or _of_headers(envelope.get("headers"))
        or _of_body(envelope.get("body"))
    )


def _of_properties(found: object) -> str:
    if not isinstance(found, dict) or found.get("body_encoding") != "base64":
        return "its properties are not ours"
    delivery = found.pop("delivery_info", None)
    if not isinstance(delivery, dict) or delivery.get("exchange") != "":
        return "it was not put straight into a queue"
    if delivery.get("routing_key") not in (SHARDS, LOADS):  # compared, not hashed: it may be a list
        return "it was put into another queue"
    if not isinstance(found.get("delivery_tag"), str):
        return "it has no delivery tag"
    return "" if _flat(found) and _flat(delivery) else "its properties are not ours"


def _flat(found: Mapping[str, object]) -> bool:
    """Texts and numbers under plain names: a `__type__` would be built by the reader of the broker."""
    scalar = (str, int, float, type(None))
    return all(isinstance(v, scalar) and not k.startswith("__") for k, v in found.items())


def _of_headers(found: object) -> str:
    if not isinstance(found, dict):
        return "it has no headers"
    if found.get("task") != TASK:
        return f"it is a task {str(found.get('task'))!r:.80}"
    if not isinstance(found.get("id"), str):
        return "it has no id"
    if not _flat(found) or isinstance(found.get("retries"), str | float):
        return "its headers are not ours"
    return next((f"it has a header '{n}'" for n in _FORBIDDEN if found.get(n)), "")


def _of_body(found: object) -> str:
    try:
        body: Any = orjson.loads(base64.b64decode(str(found), validate=True))
    except (binascii.Error, ValueError):
        return "its body is not JSON in base64"
    match body:
        case [[str()], {} as named, {} as around] if not named and _empty(around):
            return ""
        case _:
            return "its body has not the one text of a message"


def _empty(around: Mapping[str, object]) -> bool:
    """Whether nothing is to follow the task."""
    return not any(around.values())
