"""The other end of the embedded queue: one process that handles one message after another.

Started as `python -m sharder.child MODULE:FUNCTION FD`; it imports nothing of the handler's until the
first moment at which nothing else is left to do.
"""

from __future__ import annotations

import importlib
import os
import queue
import sys
import threading
from multiprocessing.connection import Connection

import orjson

from contracts import memory, settings
from contracts.observe import log

LEAVES_S = 10.0


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
    """Handle messages until an empty one comes. When the parent is gone end at once, in the middle of whatever
    it is.
    """
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def listen() -> None:
        try:
            while True:
                inbox.put(pipe.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)

    threading.Thread(target=listen, name="parent", daemon=True).start()
    module, _, function = handler.partition(":")
    log.set_up(settings.from_environment().log_level)  # as text: `sharder.log` reads it
    handle = getattr(importlib.import_module(module), function)
    if module.startswith("worker."):
        memory.settle()
    heart = PipeHeart(pipe)
    heart.send("ready")
    while message := inbox.get():
        handle(message, heart)
        heart.send("done")


def main(handler: str, pipe: Connection) -> None:
    """Serve, then close what is open; a thread that somebody left running does not keep the process."""
    serve(handler, pipe)
    last = threading.Timer(LEAVES_S, os._exit, (0,))
    last.daemon = True
    last.start()


if __name__ == "__main__":
    main(sys.argv[1], Connection(int(sys.argv[2])))
