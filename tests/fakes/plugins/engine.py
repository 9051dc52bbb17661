"""Docker's command line, as far as plugins need it, without containers: `run` executes little.py instead.

What happens is kept in the directory DOCKER_FAKE: `calls` (a line of JSON per call), `images` (names of images
that are there), `registry` (names that can be pulled, or the text of an error), `little` (words for little.py).
The program in the "container" sees the variables that `--env` names, and nothing else.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

home = Path(os.environ["DOCKER_FAKE"])
words = sys.argv[1:]


def text(name: str) -> str:
    file = home / name
    return file.read_text() if file.exists() else ""


def after(option: str) -> str:
    return words[words.index(option) + 1]


config = Path(os.environ.get("DOCKER_CONFIG", "/nowhere"), "config.json")
call = {"words": words, "config": config.read_text() if config.exists() else "", "at": time.time()}
with (home / "calls").open("a") as calls:
    calls.write(json.dumps(call) + "\n")

match words[0]:
    case "image":
        sys.exit(0 if words[-1] in text("images").split() else 1)
    case "pull":
        if words[-1] not in text("registry").split():
            sys.exit(text("registry") or "Error response from daemon: manifest unknown")
        (home / "images").write_text(text("images") + " " + words[-1])
    case "port":
        if not (found := text(f"{words[1]}.port")):
            sys.exit(f"Error response from daemon: No such container: {words[1]}")
        print(f"127.0.0.1:{found}")
    case "rm":
        (home / "removed").write_text(text("removed") + " " + words[-1])
    case "run":
        named = [words[i + 1] for i, word in enumerate(words) if word == "--env"]
        given = {n.partition("=")[0]: n.partition("=")[2] if "=" in n else os.environ[n] for n in named}  # fmt: skip
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        (home / f"{after('--name')}.port").write_text(str(port))
        program = Path(__file__).parent / "little.py" if "/" in __file__ else Path("little.py")
        program = Path(os.environ.get("DOCKER_FAKE_PROGRAM", program))
        line = [sys.executable, "-S", str(program), *text("little").split(), "serve", "--address", f"127.0.0.1:{port}"]  # fmt: skip
        os.execve(sys.executable, line, given)
