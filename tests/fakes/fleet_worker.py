"""A worker or loader of the fleet whose handler obeys the test: `fleet_worker URL QUEUE PROCESSES ALIVE OPTIONS`."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from contracts import fleet
from tests.fakes import ear


class FleetWorker:
    """The program in a process of its own; `stop` with SIGTERM, or kill it."""

    def __init__(
        self,
        url: str,
        queue: str,
        hears: ear.Ear,
        home: Path,
        *,
        processes: int = 1,
        deaf: bool = False,
        **options: float,
    ) -> None:
        """`options`: more of `serve`. A `deaf` one is up, and takes no messages."""
        self.alive = home / f"{queue}.alive"
        self.log = home / f"{queue}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.fakes.fleet_worker"),
                    *(url, queue, str(processes), str(self.alive)),
                    json.dumps({"deaf": deaf, **options}),
                ],
                cwd=Path(__file__).parents[2],
                env={**os.environ, **hears.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that its children can be killed with it
            )

    def terminate(self) -> int:
        self.process.terminate()
        return self.process.wait()

    def kill(self) -> None:
        """The whole node dies at once."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


if __name__ == "__main__":
    url, queue, processes, alive, given = sys.argv[1:]
    assert queue in {"shards", "loads"}
    logging.basicConfig(level=logging.WARNING)
    options = json.loads(given)
    if options.pop("deaf"):
        from celery.signals import worker_ready

        def stop_consuming(sender: Any, **_: object) -> None:
            sender.cancel_task_queue(queue)

        worker_ready.connect(stop_consuming)
    sys.exit(
        fleet.serve(
            url,
            "shards" if queue == "shards" else "loads",
            ear.handle,
            concurrency=int(processes),
            alive=Path(alive),
            **options,
        )
    )
