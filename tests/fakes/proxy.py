"""A TCP proxy that does to a connection what networks do: delay, cut, truncate, and lose replies.

It works on chunks of bytes and knows no protocol. `drop_reply` is the fault that matters most: the request has
been carried out, and who asked for it is told nothing but that the connection is gone.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

Fault = Literal["none", "delay", "cut", "truncate", "drop_reply"]


@dataclass(frozen=True)
class Faults:
    """How likely each is, per chunk; `delay_s` is the longest delay. Requests are delayed or cut only."""

    delay: float = 0.0
    cut: float = 0.0
    truncate: float = 0.0
    drop_reply: float = 0.0
    delay_s: float = 0.3


CALM = Faults()


class Proxy:
    """Listens on a free loopback port, in a thread of its own, and passes everything to `upstream`."""

    def __init__(self, upstream: int, seed: int = 0) -> None:
        self.upstream = upstream
        self.faults = CALM
        self.shut = False  # nobody is let in, and who is in is thrown out
        self.counts: Counter[str] = Counter()
        self.port = 0
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def close(self) -> None:
        """Shut the door; open connections end."""
        self._loop.call_soon_threadsafe(self._throw_out)

    def shutting(self, shut: bool) -> None:
        """As if the server's machine were away, or back."""
        self.shut = shut
        if shut:
            self.close()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shut = True
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0)
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))

    def _end(self) -> None:
        self._server.close()
        self._throw_out()
        for task in self._tasks:
            task.cancel()
        self._loop.stop()

    def _throw_out(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._writers.add(writer)
        server: asyncio.StreamWriter | None = None
        try:
            if self.shut:
                return
            back, server = await asyncio.open_connection("127.0.0.1", self.upstream)
            self._writers.add(server)
            await asyncio.gather(
                self._pump(reader, server, self._request), self._pump(back, writer, self._reply)
            )
        except (OSError, asyncio.CancelledError):
            return  # an end was cut, and both ends are closed below
        finally:
            for one in (writer, server):
                if one is not None:
                    one.transport.abort()
                    self._writers.discard(one)
            self._tasks.discard(task)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        fate: Callable[[], Fault],
    ) -> None:
        """Pass chunks on until one side ends, or a fault ends both."""
        while data := await reader.read(1 << 16):
            fault = fate()
            self.counts[fault] += fault != "none"
            match fault:
                case "delay":
                    await asyncio.sleep(self._random.random() * self.faults.delay_s)
                case "cut" | "drop_reply":
                    raise ConnectionAbortedError
                case "truncate":
                    writer.write(data[: len(data) // 2])
                    await writer.drain()
                    raise ConnectionAbortedError
                case "none":
                    pass
            writer.write(data)
            await writer.drain()
        raise ConnectionAbortedError

    def _request(self) -> Fault:
        return self._drawn(("delay", self.faults.delay), ("cut", self.faults.cut))

    def _reply(self) -> Fault:
        f = self.faults
        return self._drawn(
            ("delay", f.delay), ("truncate", f.truncate), ("drop_reply", f.drop_reply)
        )

    def _drawn(self, *chances: tuple[Fault, float]) -> Fault:
        drawn = self._random.random()
        for fault, chance in chances:
            drawn -= chance
            if drawn < 0:
                return fault
        return "none"
