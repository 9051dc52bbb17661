"""Handlers for pool tests: what a message's shard number says is what happens. They leave marks as files."""

from __future__ import annotations

import os
import time
from pathlib import Path

from contracts.queue import Heart, Message


def handle(data: bytes, heart: Heart) -> None:
    """Table or shard name → behaviour; the environment says where marks go."""
    message = Message.from_bytes(data)
    marks = Path(os.environ["MARKS"])
    what = message.table or message.shard
    heart.beat(message.run, message.job, "a")
    mark = marks / f"{message.job}.{os.getpid()}.{time.monotonic_ns()}"
    whole = marks.parent / f".{mark.name}"  # whoever sees a mark may read it
    whole.write_text(os.environ.get("SHARDER_STAGE", ""))
    whole.rename(mark)
    print("handled", what, flush=True)
    if what == "01-0000666":
        os._exit(9)
    if what == "01-0000777":  # holds on until it is killed
        while True:
            time.sleep(60)
    if what == "01-0000888":  # beats until a file tells it to stop
        while not (marks / "stop").exists():
            heart.beat(message.run, message.job, "a")
            time.sleep(0.01)
