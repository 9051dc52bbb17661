"""What one worker process keeps between shards: a session, assumed roles, account numbers."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from worker.sources.aws.accounts import Principal
from worker.sources.aws.calls import Caller
from worker.sources.aws.credentials import Vault
from worker.sources.aws.options import Options
from worker.sources.aws.pace import AwsPace
from worker.sources.aws.session import Endpoint, Session, shared
from worker.sources.base import Context


@dataclass
class Process:
    """Shared by all sources of a process that have the same endpoint."""

    session: Session
    vault: Vault
    numbers: dict[Principal, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def caller(self, options: Options, context: Context) -> Caller:
        pace = AwsPace(context.pace, context.rate_per_s, known=not options.custom_endpoint_url)
        return Caller(self.session, self.vault, pace, context, debug=options.aws_debug)


_processes: dict[tuple[Endpoint, float], Process] = {}
_lock = threading.Lock()


def of(options: Options, context: Context) -> Process:
    """The process's state for these options; what was refused to an earlier shard is asked for again."""
    key = (Endpoint.of(options), context.rate_per_s)
    with _lock:
        if key not in _processes:
            session = shared(key[0])
            _processes[key] = Process(session, Vault(session, context.now))
        found = _processes[key]
    found.vault.forgive()
    return found
