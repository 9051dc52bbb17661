"""The other end of the embedded queue: one process that handles one message after another.

Started as `python -m sharder.child MODULE:FUNCTION FD`; it imports nothing of the handler's until the
first moment at which nothing else is left to do.
"""

from __future__ import annotations

import importlib
import logging
import os
import queue
import sys
import threading
from multiprocessing.connection import Connection

import orjson

from contracts import settings

FORMAT = "%(asctime)s %(levelname)s %(message)s"  # as `sharder.log` reads it


class PipeHeart:
    """Heartbeats through the pipe. The pool gives a job to one process at a time: no other is fresh."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def send(self, event: object) -> None:
        with self._lock:
            self._pipe.send_bytes(orjson.dumps(event))

    def beat(self, run: str, job: str, attempt: str) -> None:
        self.send(["beat", run, job, attempt])

    def fresh(self, run: str, job: str) -> bool:
        del run, job
        return False

    def stop(self, run: str, job: str) -> None:
        """The end of the job says it: the pool forgets its heartbeat then."""
        del run, job


def serve(handler: str, pipe: Connection) -> None:
    """Handle messages until the parent is gone; then end at once, in the middle of whatever it is."""
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def listen() -> None:
        try:
            while True:
                inbox.put(pipe.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)

    threading.Thread(target=listen, name="parent", daemon=True).start()
    module, _, function = handler.partition(":")
    logging.basicConfig(format=FORMAT)
    program = logging.getLogger(module.partition(".")[0])
    program.setLevel(settings.from_environment().log_level.upper())
    handle = getattr(importlib.import_module(module), function)
    heart = PipeHeart(pipe)
    heart.send("ready")
    while True:
        handle(inbox.get(), heart)
        heart.send("done")


if __name__ == "__main__":
    serve(sys.argv[1], Connection(int(sys.argv[2])))
