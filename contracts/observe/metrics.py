"""What can be counted, by whom, and under which names: the only home of prometheus_client.

Off unless a program was told to serve metrics; then counting is an addition in a file of shared memory,
one per child process, which the exporter adds up. No label has as many values as there are runs,
accounts or tables: those are in the logs, the summary and the warehouse's own tables.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from contracts.errors import InputError, missing_extra

Kind = Literal["counter", "histogram", "gauge"]
EXTRA = "metrics"


@dataclass(frozen=True)
class Metric:
    """One metric: who has it, and what it says."""

    kind: Kind
    about: str
    by: tuple[str, ...]
    labels: tuple[str, ...] = ()


# From a fast shard to the default time limit.
SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0)
_W, _L, _S = "worker", "loader", "watch"

METRICS: Mapping[str, Metric] = {
    "sharder_shards_total": Metric(
        "counter",
        "Attempts at shards that ended, by outcome: `done` (committed), `lost_race` (another attempt was faster),"
        " `cancelled`, `failed` (the stage did not answer, or a bug)",
        (_W,),
        ("source", "outcome"),
    ),
    "sharder_shard_seconds": Metric(
        "histogram", "Duration of attempts that committed", (_W,), ("source",)
    ),
    "sharder_cells_total": Metric(
        "counter", "Cells of committed shards, by outcome", (_W,), ("source", "outcome")
    ),
    "sharder_rows_total": Metric("counter", "Rows in committed parts", (_W,), ("source",)),
    "sharder_bytes_total": Metric("counter", "Bytes of committed parts", (_W,), ("source",)),
    "sharder_attempts_killed_total": Metric(
        "counter",
        "Processes that ended themselves, because an attempt was over its limit (`timeout`, `memory`), and"
        " processes that something else killed in the middle of a job (`killed`: perhaps out of memory)",
        (_W, _L),
        ("reason",),
    ),
    "sharder_heartbeats_lost_total": Metric(
        "counter", "Heartbeats that the broker did not take", (_W, _L)
    ),
    "sharder_api_calls_total": Metric(
        "counter",
        "Calls to APIs, by result: `ok`, `error`, `throttled`. Known of the source aws",
        (_W,),
        ("source", "service", "result"),
    ),
    "sharder_api_retries_total": Metric(
        "counter", "Further tries of calls to APIs", (_W,), ("source", "service")
    ),
    "sharder_loads_total": Metric(
        "counter", "Loads that ended, by outcome", (_L,), ("source", "destination", "outcome")
    ),
    "sharder_load_seconds": Metric(
        "histogram", "Duration of loads that ended ok", (_L,), ("source", "destination")
    ),
    "sharder_load_rows_total": Metric(
        "counter", "Rows that readers of the destination see", (_L,), ("source", "destination")
    ),
    "sharder_queue_messages": Metric(
        "gauge", "Messages in the broker that nobody has taken yet", (_S,)
    ),
    "sharder_workers": Metric("gauge", "Worker processes that are there to take shards", (_S,)),
    "sharder_runs_open": Metric("gauge", "Open runs that this watch tends", (_S,)),
    "sharder_runs_total": Metric(
        "counter",
        "Rounds of runs that this watch has seen closed, by the exit code of their summary",
        (_S,),
        ("exit_code",),
    ),
    "sharder_attempts_lost_total": Metric(
        "counter", "Attempts of closed rounds that had started and died", (_S,)
    ),
}

_live: dict[str, Any] = {}  # empty: off


def enable(directory: Path | None = None, slot: int = 0) -> None:
    """Count from now on. `directory`: where the processes of one program meet; `slot`: this one's number.

    A process that replaces another in its slot goes on with its file, so that their number is bounded.
    Raises MissingExtra.
    """
    if _live:
        return
    if directory:
        # Read by the library when it is imported.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    try:
        import prometheus_client as prometheus
        from prometheus_client import values
    except ImportError as error:
        raise missing_extra("prometheus-client", EXTRA, "--metrics-port") from error
    if directory:
        make: Any = values.MultiProcessValue  # it has no types
        values.ValueClass = make(lambda: slot)
    registry = prometheus.CollectorRegistry()
    makers: Mapping[Kind, Any] = {
        "counter": prometheus.Counter,
        "histogram": partial(prometheus.Histogram, buckets=SECONDS),
        "gauge": partial(prometheus.Gauge, multiprocess_mode="max"),
    }
    for name, m in METRICS.items():
        _live[name] = makers[m.kind](name, m.about, m.labels, registry=registry)
    _live[""] = registry


def count(name: str, n: float = 1, /, **labels: str) -> None:
    """Add to a counter."""
    if _live:
        _of(name, labels).inc(n)


def observe(name: str, value: float, /, **labels: str) -> None:
    """Add an observation to a histogram."""
    if _live:
        _of(name, labels).observe(value)


def put(name: str, value: float, /, **labels: str) -> None:
    """Set a gauge."""
    if _live:
        _of(name, labels).set(value)


def live() -> bool:
    """Whether anybody wants numbers: some must be asked for."""
    return bool(_live)


def _of(name: str, labels: Mapping[str, str]) -> Any:
    found = _live[name]
    return found.labels(**labels) if labels else found


def serve(port: int) -> None:
    """Serve what this process counts, by a thread of it. Not for programs that fork."""
    enable()
    listen(port, _live[""])


def listen(port: int, registry: Any) -> None:
    """Raises InputError for a port that cannot be had."""
    from prometheus_client import start_http_server

    try:
        start_http_server(port, registry=registry)
    except OSError as error:
        raise InputError(
            f"metrics cannot be served on port {port}: {error.strerror}",
            "choose another with --metrics-port",
        ) from error
