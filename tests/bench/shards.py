"""What a shard without rows costs: a whole embedded run, and the worker of a fleet with an S3 stage.

Per shard = (CPU of a large run − CPU of a small one) / the difference in shards, so that what a process
costs once (imports, planning, loading) is not in it.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.bench.pairs import Figure, Result
from tests.bench.scale import Scale
from tests.fakes.servers import S3, Redis

SPEC = """\
kind: source
spec:
  name: files
  path: sharder/file
  tables: ["*"]
  destinations: [duck]
  spec: {{tables: [{{name: empty, path: "{place}/in{shards}/*.csv", columns: {{a: text}}, only_columns: true}}]}}
---
kind: destination
spec: {{name: duck, path: cloudquery/duckdb, write_mode: overwrite, spec: {{connection_string: "{place}/w.duckdb"}}}}
---
kind: fleet
spec: {{shard_seconds: 1.0e-8}}
"""


def spec(place: Path, shards: int) -> Path:
    """A spec whose every file is a cell and every cell a shard; the files have a header and no rows."""
    folder = place / f"in{shards}"
    folder.mkdir(exist_ok=True)
    for n in range(shards):
        (folder / f"{n:06d}.csv").write_text("a\n")
    path = place / f"spec{shards}.yml"
    path.write_text(SPEC.format(place=place, shards=shards))
    return path


def submit(place: Path, shards: int, environment: Mapping[str, str]) -> float:
    """CPU seconds of `sharder submit` and of everything that it started. Raises if it was not complete."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", "from sharder.cli import main; main()", "submit", str(spec(place, shards))],
        cwd=place, env={**os.environ, "PYTHONPATH": str(Path.cwd()), **environment},
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def embedded(scale: Scale) -> Iterator[Result]:
    few, many = max(1, scale.shards // 4), scale.shards
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        small, large = submit(place, few, {}), submit(place, many, {})
    each = (large - small) / (many - few) * 1000
    yield Figure("empty shard, embedded", each, "ms CPU", 15, "whole run: submitter, workers and loader",
                 f"{few} and {many} shards: {small:.2f} and {large:.2f} CPU s")  # fmt: skip


def tree_cpu(pid: int) -> float:
    """CPU seconds of a process, its live descendants, and what it has reaped."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    total, queue = 0.0, [pid]
    while queue:
        at = queue.pop()
        fields = Path(f"/proc/{at}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
        queue += children.get(at, [])
    return total


@contextmanager
def program(place: Path, module: str, environment: Mapping[str, str]) -> Iterator[int]:
    """`worker run` or `loader run`; its pid."""
    with (place / f"{module}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "run"], cwd=Path.cwd(), env={**os.environ, **environment},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def fleet(scale: Scale) -> Iterator[Result]:
    few, many = max(1, scale.shards // 4), scale.shards
    with Redis() as redis, S3() as s3, tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        environment = {
            **s3.environment(), "SHARDER_BROKER": redis.url, "SHARDER_STAGE": f"s3://{s3.create()}/stage",
            "SHARDER_LOG_LEVEL": "warning",
        }  # fmt: skip
        with (
            program(place, "worker.cli", environment) as worker,
            program(place, "loader.cli", environment),
        ):
            used, asked, writes = [], Counter[str](), [""]
            submit(place, 2, environment)  # imports, connections
            for shards in (few, many):
                s3.requests()
                before = tree_cpu(worker)
                submit(place, shards, environment)
                used.append(tree_cpu(worker) - before)
                requests = s3.requests()
                asked = Counter(kind(method, path) for method, path in requests)
                writes = [
                    path
                    for method, path in requests
                    if method in {"PUT", "POST"} and "/runs/" in path
                ]
    each = (used[1] - used[0]) / (many - few) * 1000
    counts = ", ".join(f"{k} {n / many:.1f}" for k, n in sorted(asked.items()) if n >= many / 2)
    yield Figure("empty shard, worker of a fleet", each, "ms CPU", 25, "Celery on Redis, stage on S3",
                 f"{few} and {many} shards: {used[0]:.2f} and {used[1]:.2f} CPU s")  # fmt: skip
    written = len(writes) / len(set(writes))
    yield Figure("requests per small object written", written, "", 1.0, "all objects of the run",
                 f"of the whole run per shard: {counts}")  # fmt: skip


def kind(method: str, path: str) -> str:
    """`GET commits`, `PUT attempts`, …; lists as `GET ?`."""
    if "list-type" in path:
        return f"{method} ?"
    steps = path.partition("?")[0].split("/")
    return f"{method} {steps[steps.index('runs') + 2]}" if "runs" in steps else f"{method} …"


def bench(scale: Scale) -> Iterator[Result]:
    yield from embedded(scale)
    yield from fleet(scale)
