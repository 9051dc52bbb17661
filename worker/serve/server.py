"""The program: listens, says so, and ends at once when it is told to."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import grpc
from cloudquery.discovery_v1 import discovery_pb2_grpc
from cloudquery.plugin_v3 import plugin_pb2_grpc

from contracts.errors import InputError
from contracts.observe.log import event
from worker.serve import sdk
from worker.serve.address import Address
from worker.serve.offer import Offer
from worker.serve.servicer import Discovery, Plugin

LARGEST = 200 << 20  # of a message, as CloudQuery has it
_CALLS = 8  # at once; a sync is one of them
_OPTIONS = [
    ("grpc.max_receive_message_length", LARGEST),
    ("grpc.max_send_message_length", LARGEST),
    # Else two programs listen on one port, and a client reaches somebody else's.
    ("grpc.so_reuseport", 0),
]

Register = Callable[[grpc.Server], None]


def served(name: str, *, log_level: str, log_format: str) -> Register:
    """What answers for a source of ours, `module:factory`, or a class of CloudQuery's Python SDK.

    Raises InputError if there is nothing of that name.
    """
    if ":" in name and (found := sdk.plugin_class(name)):
        plugin = sdk.servicer(found, log_level=log_level, log_format=log_format)
    else:
        plugin = Plugin(Offer(name))
    return lambda server: plugin_pb2_grpc.add_PluginServicer_to_server(plugin, server)  # type: ignore[no-untyped-call]


def listening(register: Register, address: Address) -> grpc.Server:
    """A started server. Raises InputError if it cannot listen there."""
    server = grpc.server(ThreadPoolExecutor(_CALLS, thread_name_prefix="calls"), options=_OPTIONS)
    discovery_pb2_grpc.add_DiscoveryServicer_to_server(Discovery(), server)  # type: ignore[no-untyped-call]
    register(server)
    try:
        bound = server.add_insecure_port(address.target)
    except RuntimeError as error:
        raise InputError(
            f"cannot listen at {address.target}: {error}",
            "is something listening there already, and does the directory exist?",
        ) from error
    server.start()
    port = {"port": bound} if address.socket is None else {}
    event("plugin_server_listening", address=address.target, **port)
    return server


def run(register: Register, address: Address) -> None:
    """Serve until SIGINT or SIGTERM. Does not return: threads of a source would be waited for."""
    told = threading.Event()

    def stop(number: int, frame: Any) -> None:
        del number, frame
        told.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    server = listening(register, address)
    told.wait()
    server.stop(None)
    if address.socket:
        with suppress(OSError):
            address.socket.unlink()
    sys.stdout.flush()
    os._exit(0)
