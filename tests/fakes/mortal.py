"""A loader that dies: a process that kills itself right after its n-th write, to the stage or the warehouse.

The processes are forked from a server that has imported everything and opened nothing, so a death
costs a tenth of a second.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from contracts.store import Store, open_store
from loader import cache
from loader.cache import Warehouses
from loader.documents import OpenDestination
from tests.fakes.crash import CrashingStore, Moment
from tests.fakes.stage import NOW, Bad, Good, StageRun, rows, shard

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    ["tests.fakes.mortal", "duckdb", "psycopg", "pgpq", "pyarrow.parquet"]
)


class Countdown:
    """Writes left until death."""

    def __init__(self, writes: int) -> None:
        self.left = writes

    def wrote(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def doomed_run(
    stage: Path, path: str, spec: Mapping[str, Any], n: int, write_mode: str, **kwargs: Any
) -> StageRun:
    """Run n: two rows, a failed cell and a cursor; its documents are written if they are not there."""
    kwargs.setdefault("state", "cq_state")
    run = StageRun(
        stage, spec=spec, path=path, run=f"run-{n:03d}", sync_time=NOW + timedelta(days=n),
        write_mode=write_mode, **kwargs,
    )  # fmt: skip
    if not run.stage.rounds(run.run):
        cells = {"a": Good(rows(n, n + 1), {"items": str(n)}), "b": Bad("denied")}
        run.round([shard(cells)])
    return run


def dies(
    stage: Path,
    path: str,
    spec: Mapping[str, Any],
    n: int,
    write_mode: str,
    state: str = "cq_state",
    **outer: Any,
) -> bool:
    """Whether a loader of run n died at its n-th write; False if it was done before."""
    # The server of forks has the environment of the test that first asked for one.
    given = (dict(os.environ), stage, path, dict(spec), n, write_mode, {"state": state, **outer})
    process = _SERVER.Process(target=_load, args=given)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _load(
    environment: Mapping[str, str],
    stage: Path,
    path: str,
    spec: Mapping[str, Any],
    n: int,
    write_mode: str,
    outer: Mapping[str, Any],
) -> None:
    os.environ.update(environment)
    countdown = Countdown(n)
    store = _mortal_store(stage, countdown)
    warehouses = Warehouses(lambda found: _mortal(found, countdown))
    more: dict[str, Any] = {"store": store, "warehouses": warehouses, **outer}
    doomed_run(stage, path, spec, n, write_mode, **more).load()


def _mortal_store(stage: Path | str, countdown: Countdown) -> Any:
    store: Any = open_store(str(stage))
    for name in ("put", "create"):
        setattr(store, name, _counted(getattr(store, name), countdown))
    return store


def _mortal(found: OpenDestination, countdown: Countdown) -> Any:
    """Statements count, and so do commits: a death between two of them loses a whole transaction."""
    warehouse: Any = cache.open_destination(found)
    if hasattr(warehouse, "_store"):  # the files'; a plugin has none
        _mortal_places(warehouse._store, countdown)
        return warehouse
    if not warehouse.traits.lands:
        _mortal_plugin(warehouse, countdown)
        return warehouse
    transaction = warehouse.transaction

    @contextmanager
    def committed() -> Iterator[None]:
        with transaction():
            yield
        countdown.wrote()

    warehouse.transaction = committed
    warehouse.execute = _counted(warehouse.execute, countdown)
    return warehouse


def _mortal_plugin(warehouse: Any, countdown: Countdown) -> None:
    """Every message that the plugin is sent counts, and so does the end of each write."""
    write = warehouse._write

    def counted(make: Any) -> Any:
        def messages(stream: Any) -> Iterator[Any]:
            for message in make(stream):
                yield message
                countdown.wrote()

        result = write(messages)
        countdown.wrote()
        return result

    warehouse._write = counted


def _mortal_places(store: Any, countdown: Countdown) -> None:
    """Every step of writing a file counts."""
    open_write = store.open_write

    def opened(key: str) -> Any:
        upload = open_write(key)
        countdown.wrote()
        for name in ("write", "close"):
            setattr(upload, name, _counted(getattr(upload, name), countdown))
        return upload

    store.open_write = opened
    for name in ("put", "delete"):
        setattr(store, name, _counted(getattr(store, name), countdown))


class _CountedStore(CrashingStore):
    def __init__(self, store: Store, countdown: Countdown) -> None:
        super().__init__(store, 0)
        self._countdown = countdown

    def _writing(self, moment: Moment) -> None:
        if moment == "after":
            self._countdown.wrote()


def _counted(call: Any, countdown: Countdown) -> Any:
    def counted(*args: Any, **kwargs: Any) -> Any:
        result = call(*args, **kwargs)
        countdown.wrote()
        return result

    return counted
