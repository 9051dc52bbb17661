"""The seam between deciding and doing: messages of JSON bytes, and the Queue protocol.

The queue is a hint (plan and commits are the truth), so a message may be lost or delivered twice.
It carries names only: no spec, no secret, no pickle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Protocol

import orjson

from contracts import layout
from contracts.errors import InputError

Kind = Literal["prepare", "shard", "load", "migrate", "conclude"]

_FIELDS: Mapping[str, frozenset[str]] = {
    "prepare": frozenset({"kind", "run", "destination"}),
    "shard": frozenset({"kind", "run", "shard"}),
    "load": frozenset({"kind", "run", "destination", "source", "table", "round"}),
    "migrate": frozenset({"kind", "run", "destination"}),
    "conclude": frozenset({"kind", "run", "destination", "round"}),
}


@dataclass(frozen=True)
class Message:
    """One hint: prepare a destination, work on a shard, load a table, only migrate the tables of a
    destination, or write a closed round's summary into it.
    """

    kind: Kind
    run: str
    shard: str = ""
    destination: str = ""
    source: str = ""
    table: str = ""
    round: int = 0

    @property
    def job(self) -> str:
        """Name of the job within its run: what attempts and heartbeats belong to."""
        match self.kind:
            case "shard":
                return self.shard
            case "prepare" | "migrate":
                return f"{self.kind} {self.destination}"
            case "conclude":
                return f"conclude {self.destination} {self.round}"
            case "load":
                return f"load {self.destination} {self.source} {self.table} {self.round}"

    def to_bytes(self) -> bytes:
        fields = _FIELDS[self.kind]
        return orjson.dumps({k: v for k, v in asdict(self).items() if k in fields})

    @classmethod
    def from_bytes(cls, data: bytes | str) -> Message:
        """Raises InputError for anything but exactly one of our kinds of message."""
        try:
            document = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise InputError("a message on the queue is not JSON; it was dropped") from error
        kind = document.get("kind") if isinstance(document, dict) else None
        if not isinstance(kind, str) or _FIELDS.get(kind) != document.keys():
            raise InputError("a message on the queue is not one of ours; it was dropped")
        for name, value in document.items():
            if not isinstance(value, int if name == "round" else str) or isinstance(value, bool):
                raise InputError(f"a message on the queue has a malformed '{name}'; it was dropped")
        layout.check_run(document["run"])
        if kind == "shard":
            layout.parse_shard_id(document["shard"])
        return cls(**document)


class Queue(Protocol):
    """The watcher's side of the fleet."""

    def put(self, messages: Sequence[Message]) -> None:
        """Hand out messages, in order. Raises Unreachable if the broker does not answer."""

    def waiting(self) -> int:
        """Messages put but not yet taken by a worker or loader, of all runs."""

    def beats(self, run: str, jobs: Sequence[str]) -> Mapping[str, str]:
        """Job → a text that changes while an attempt of it is alive; jobs without a heartbeat are absent."""

    def workers(self) -> int:
        """Processes that would take a shard now; 0 means that nobody will."""

    def close(self) -> None: ...


class Heart(Protocol):
    """The worker's and the loader's side: says that an attempt is alive."""

    def beat(self, run: str, job: str, attempt: str) -> None: ...

    def fresh(self, run: str, job: str) -> bool:
        """Whether another attempt of the job beat within the last half minute."""

    def stop(self, run: str, job: str) -> None: ...
