"""`--network` and `--address`, as CloudQuery's CLI passes them → where gRPC listens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contracts.errors import InputError

DEFAULT = "localhost:7777"  # Go's
_SOCKET_BYTES = 107  # of a path: Linux has 108 with the zero at the end


@dataclass(frozen=True)
class Address:
    """`target` as gRPC wants it; `socket`: the file, if it is one."""

    target: str
    socket: Path | None = None


def parse(network: str, address: str) -> Address:
    """A socket by `--network unix`, or by an address that begins with `unix:`. Raises InputError."""
    path = address.removeprefix("unix://").removeprefix("unix:")
    if network == "unix" or path != address:
        if not path or path == DEFAULT:
            raise InputError(
                "--network unix needs the path of a socket", "add --address /dir/x.sock"
            )
        if len(path.encode()) > _SOCKET_BYTES:
            raise InputError(
                f"the path of the socket has {len(path.encode())} bytes, more than the system's {_SOCKET_BYTES}: {path}",
                "use a shorter directory, for example below /tmp",
            )
        return Address(f"unix:{path}", Path(path))
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise InputError(f"'{address}' is no address", f"write HOST:PORT, for example {DEFAULT}")
    return Address(f"{host or '[::]'}:{port}")
