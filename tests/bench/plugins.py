"""What a message of a plugin costs the client: CPU of the fast road against the plain one, and memory.

The plugin is another process that sends ready-made bytes (10 columns: those of the tests' scripted
plugin without `_cq_id`), so that only the client is measured. The plain road does the same work with
the generated stub and one IPC reader per message; the naive loop is only those two, and keeps nothing.

`python -m tests.bench.plugins serve SOCKET` is the plugin, `… drain SOCKET ROWS MESSAGES` a client.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.bench.pairs import Figure, Result, compare, cpu, peak_mb
from tests.bench.scale import Scale

MOST_MB = 150  # above the start, over a million messages of one row
AIMS = {1: (3.0, 2.0), 50: (3.0, 2.0), 1000: (1.2, 0.7)}  # rows a message → against plain, naive


def serve(socket: str) -> None:
    """Sync with tables ["ROWS:MESSAGES"] sends so many messages of so many rows."""
    import grpc
    from cloudquery.plugin_v3 import plugin_pb2 as pb

    from tests.fakes.plugins import contents, encode

    table = {"name": "things", "columns": contents.COLUMNS[1:]}

    def sync(request: bytes, _context: object) -> Iterator[bytes]:
        rows, messages = map(int, pb.Sync.Request.FromString(request).tables[0].split(":"))
        ready = [encode.insert(contents.rows(table, "a1", n, n + rows)) for n in range(100)]
        for n in range(messages):
            yield ready[n % 100]

    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_send_message_length", -1)])
    handler = grpc.method_handlers_generic_handler(
        "cloudquery.plugin.v3.Plugin", {"Sync": grpc.unary_stream_rpc_method_handler(sync)}
    )
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"unix://{socket}")
    server.start()
    server.wait_for_termination()


@contextmanager
def plugin() -> Iterator[str]:
    """A plugin in its own process; yields its socket."""
    from contracts.plugin.calls import Calls
    from contracts.plugin.errors import lives

    with tempfile.TemporaryDirectory() as directory:
        socket = str(Path(directory) / "x.sock")
        process = subprocess.Popen([sys.executable, "-m", "tests.bench.plugins", "serve", socket])
        try:
            calls = Calls(f"unix://{socket}", lives, lives, "the plugin", single_threaded=False)
            calls.ready(120, lives)
            calls.close()
            yield socket
        finally:
            process.kill()
            process.wait()


def ours(socket: str, rows: int, messages: int, *, plain: bool = False) -> int:
    from contracts.plugin.client import Client
    from contracts.plugin.messages import Inserted, SyncRequest

    with Client(f"unix://{socket}", single_threaded=not plain) as client:
        said = client.sync(SyncRequest((f"{rows}:{messages}",)), plain=plain)
        return sum(m.batch.num_rows for m in said if isinstance(m, Inserted))


def naive(socket: str, rows: int, messages: int) -> int:
    import grpc
    from cloudquery.plugin_v3 import plugin_pb2 as pb
    from cloudquery.plugin_v3 import plugin_pb2_grpc
    from pyarrow import ipc

    found = 0
    with grpc.insecure_channel(f"unix://{socket}") as channel:
        stub = plugin_pb2_grpc.PluginStub(channel)
        for message in stub.Sync(pb.Sync.Request(tables=[f"{rows}:{messages}"])):
            with ipc.open_stream(message.insert.record) as reader:
                found += reader.read_next_batch().num_rows
    return found


def bench(scale: Scale) -> Iterator[Result]:
    with plugin() as socket:
        for rows, (plain_aim, naive_aim) in AIMS.items():
            messages = scale.plugin_messages // (1000 if rows == 1000 else 100)
            fast = partial(ours, socket, rows, messages)
            plain = partial(ours, socket, rows, messages, plain=True)
            loop = partial(naive, socket, rows, messages)
            if {fast(), plain(), loop()} != {rows * messages}:
                raise RuntimeError(f"not all of the {rows * messages} rows arrived")
            for yardstick, against, aim in (
                (plain, "plain road: stub + IPC reader", plain_aim),
                (loop, "a loop of that, which keeps nothing", naive_aim),
            ):
                yield compare(
                    f"plugin → batches, {rows:,} rows a message",
                    fast,
                    yardstick,
                    against=against,
                    aim=aim,
                    rounds=scale.rounds,
                    clock=cpu,
                    detail=f"{messages:,} messages",
                )
        peak = partial(peak_mb, "tests.bench.plugins", "drain", socket, "1")
        start, third, whole = (
            peak(str(n)) for n in (1, scale.plugin_messages // 3, scale.plugin_messages)
        )
    detail = f"{scale.plugin_messages:,} messages of one row; {start:.0f} MB before, {whole:.0f} MB at most"
    yield Figure(
        "plugin client: memory above the start", whole - start, "MB", MOST_MB, detail=detail
    )
    yield Figure(
        "plugin client: three times the messages",
        whole / third,
        "×",
        1.1,
        f"{third:.0f} MB",
        detail,
    )


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        ours(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
