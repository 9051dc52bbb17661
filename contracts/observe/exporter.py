"""Metrics of a program that forks: a process beside it adds up what its children count, and serves it.

Not a thread of the parent: a fork would copy its locks, perhaps held. The process ends with the
parent, however that ends, because its standard input does.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from contracts.errors import InputError, missing_extra
from contracts.observe.metrics import EXTRA

READY = "ready"


@contextmanager
def exporting(port: int, directory: Path) -> Iterator[None]:
    """Serve what is counted in `directory`. Raises MissingExtra, and InputError for a port that is taken."""
    if find_spec("prometheus_client") is None:
        raise missing_extra("prometheus-client", EXTRA, "--metrics-port")
    with subprocess.Popen(
        [sys.executable, "-m", __spec__.name, str(port), str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # A signal to the program's group is the program's affair.
        start_new_session=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            said = process.stdout.readline().strip()
            if said != READY:
                raise InputError(said or "the exporter of metrics did not start")
            yield
        finally:
            process.stdin.close()


def main(port: int, directory: Path) -> None:
    from prometheus_client import CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    from contracts.observe import metrics

    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]
    try:
        metrics.listen(port, registry)
    except InputError as error:
        sys.stdout.write(str(error).replace("\n", ";") + "\n")
        return
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
