"""A fleet on this machine: Redis, an S3 server, two workers and a loader, and the AWS example run on them.

Everything listens on free loopback ports and is ended at the end. The programs are the same as those of
a real fleet; they read `SHARDER_BROKER` and `SHARDER_STAGE`, and nothing else connects them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from contracts.stage import Stage
from contracts.store import open_store
from contracts.summary import Summary
from examples.aws.estate import Estate, estate
from examples.aws.run import SPEC, compare, judge, names, report, rows, say
from tests.fakes.servers import S3, Redis, ServerMissing

PROGRAMS = Path(sys.executable).parent
LOGS = Path(".sharder")

Program = tuple[subprocess.Popen[bytes], Path]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the estate")
    scale = parser.parse_args().scale
    with ExitStack() as stack:
        say("starting Redis, an S3 server and a simulated AWS organisation (about 20 seconds) …")
        try:
            redis, s3 = stack.enter_context(Redis()), stack.enter_context(S3())
        except ServerMissing as missing:
            say(f"{missing}; `make servers` installs it")
            return 1
        aws = stack.enter_context(estate(scale=scale))
        environment = surroundings(redis, s3, aws)
        code, closed = submit(environment)
        # The fleet is gone by now: a loader keeps its DuckDB file to itself while it runs.
        complaint = judge(code, closed, aws)
        found = {} if complaint else rows()
        if complaint := complaint or compare(found, aws.counts(), aws):
            say(f"not what should have happened: {complaint}")
            return 1
        say(
            f"exit code 3, and the only reason is that {names(aws, aws.denied)} refuses its role: the"
            " same as without a fleet. Every other account has exactly the rows that it should have.\n"
        )
        report(found, aws)
    return 0


def surroundings(redis: Redis, s3: S3, aws: Estate) -> Mapping[str, str]:
    """The environment of every program of the fleet."""
    at = s3.environment()
    # The stage has an endpoint of its own; the source's is in its spec.
    at["AWS_ENDPOINT_URL_S3"] = at.pop("AWS_ENDPOINT_URL")
    ours = {"SHARDER_BROKER": redis.url, "SHARDER_STAGE": f"s3://{s3.create()}/elt"}
    for name, value in ours.items():
        say(f"export {name}={value}")
    return {**os.environ, **aws.environment, **at, **ours}


def submit(environment: Mapping[str, str]) -> tuple[int, Sequence[Summary]]:
    """Run the command that a user would type, with a fleet around it; its exit code and the summaries."""
    with ExitStack() as fleet:
        programs = [
            fleet.enter_context(program(environment, name, *command))
            for name, *command in (
                ("worker-1", "worker", "run"),
                ("worker-2", "worker", "run"),
                ("loader", "loader", "run"),
            )
        ]
        say(f"$ sharder submit {os.path.relpath(SPEC)}")
        command = [str(PROGRAMS / "sharder"), "submit", os.path.relpath(SPEC)]
        with subprocess.Popen(command, env=environment) as submitted:
            code = watched(submitted, programs)
    os.environ.update(environment)
    stage = Stage(open_store(environment["SHARDER_STAGE"]))
    return code, [summary for run in stage.runs() if (summary := stage.summary(run, 1))]


def watched(submitted: subprocess.Popen[bytes], programs: Sequence[Program]) -> int:
    """The exit code of `submit`, which would wait for ever for a fleet that did not start."""
    while True:
        try:
            return submitted.wait(1)
        except subprocess.TimeoutExpired:
            for process, log in programs:
                if process.poll() is not None:
                    say(f"a program of the fleet has ended: {log.read_text(errors='replace')}")
                    submitted.terminate()


@contextmanager
def program(environment: Mapping[str, str], name: str, *command: str) -> Iterator[Program]:
    """One program of the fleet, its log in .sharder/; ended by SIGTERM, as Kubernetes does."""
    log = LOGS / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(
            [PROGRAMS / command[0], *command[1:]], env=environment, stdout=out, stderr=out
        )
    say(f"$ {' '.join(command)}    (log: {log})")
    try:
        yield process, log
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    raise SystemExit(main())
