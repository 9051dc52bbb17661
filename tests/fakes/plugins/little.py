"""A program that takes the arguments of a plugin and speaks no gRPC: it starts in 50 ms, and misbehaves.

`python -S little.py [WORD…] serve … --address unix:///path`; words before `serve`:

    deaf            it never listens            quits=3        it ends before it listens, with that code
    stubborn        SIGINT means nothing        dies=9         it listens, and ends by a signal at the first call
    child           a child in a session of its own, which would live for ever
    memory=300      MiB that it takes, at the first call
    says=TEXT       on standard error, first    pids=PATH      where it writes its number and its child's
    environment=P   where it writes its variables, as JSON
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

words = sys.argv[1 : sys.argv.index("serve")]
options = dict(word.split("=", 1) for word in words if "=" in word)
address = sys.argv[sys.argv.index("--address") + 1]
if text := options.get("says"):
    print(text, file=sys.stderr, flush=True)
if path := options.get("environment"):
    Path(path).write_text(json.dumps(dict(os.environ)))
pids = [os.getpid()]
if "child" in words:
    pids.append(subprocess.Popen(["sleep", "1000000"], start_new_session=True).pid)
if path := options.get("pids"):
    Path(path).write_text(json.dumps(pids))
if "stubborn" in words:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
if code := options.get("quits"):
    sys.exit(int(code))
if "deaf" in words:
    signal.pause()
if address.startswith("unix://"):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address.removeprefix("unix://"))
else:
    host, _, port = address.rpartition(":")
    listener = socket.create_server((host, int(port)))
listener.listen()
listener.accept()[0].close()  # the question whether it listens
kept = []
while True:
    listener.accept()[0].close()
    if number := options.get("dies"):
        os.kill(os.getpid(), int(number))
    for _ in range(int(options.get("memory", "0")) // 10):
        kept.append(bytearray(b"x") * (10 << 20))
        time.sleep(0.02)
