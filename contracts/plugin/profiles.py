"""How a program of each runtime is told where to listen.

CloudQuery's own argument line does not start plugins of the Python, JavaScript and Java SDKs. Measured with
the Python SDK 0.1.56 and the JavaScript SDK 0.1.25, read in the sources of those for Go and Java:

- Go wants the bare path of a socket; `unix://` is taken for a part of the name.
- Python ignores `--network` and wants `unix:///…`; a bare path is a host name that does not exist.
- JavaScript refuses `--network unix`, and listens on `unix:///…` all the same.
- Java knows TCP only, `host:port` without IPv6, and listens on every interface whatever the host says.

`--otel-endpoint-insecure` and `--license` are not passed: the first ends a Python plugin.
"""

from __future__ import annotations

from dataclasses import dataclass

from contracts.plugin.command import Written

PORT = 7777  # in a container


@dataclass(frozen=True)
class Socket:
    """A unix socket: nobody else reaches it, no port can be taken by somebody else."""

    path: str

    @property
    def target(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True)
class Port:
    """A port of this machine, or of another."""

    port: int
    host: str = "127.0.0.1"

    @property
    def target(self) -> str:
        return f"{self.host}:{self.port}"


Place = Socket | Port


def arguments(runtime: Written, place: Place, level: str = "info") -> tuple[str, ...]:
    """What follows the program's own words.

    Raises ValueError for a socket and a runtime that has none (Java).
    """
    line = ("serve", "--log-level", level, "--log-format", "json")
    match runtime, place:
        case "go", Socket(path):
            return (*line, "--network", "unix", "--address", path, "--no-sentry")
        case "go", Port():
            return (*line, "--network", "tcp", "--address", place.target, "--no-sentry")
        case "python", Socket(path):
            return (*line, "--network", "unix", "--address", f"unix://{path}")
        case "javascript", Socket(path):
            return (*line, "--network", "tcp", "--address", f"unix://{path}")
        case _, Port():
            return (*line, "--network", "tcp", "--address", place.target)
        case _:
            raise ValueError(f"a plugin of {runtime} cannot listen on a unix socket")


def wants_port(runtime: Written) -> bool:
    return runtime == "java"
