"""A fleet on this machine: Redis, an S3 server, two workers and a loader, and the AWS example run on them.

Everything listens on free loopback ports and is ended at the end. The programs are the same as those of
a real fleet; they read `SHARDER_BROKER` and `SHARDER_STAGE`, and nothing else connects them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from contracts.stage import Stage
from contracts.store import open_store
from examples.aws.estate import estate
from examples.aws.run import SPEC, judge, names, report, say
from tests.fakes.servers import S3, Redis

PROGRAMS = Path(sys.executable).parent


def main() -> int:
    with ExitStack() as stack:
        say("starting Redis, an S3 server and a simulated AWS organisation (about 20 seconds) …")
        redis, s3 = stack.enter_context(Redis()), stack.enter_context(S3())
        aws = stack.enter_context(estate())
        # The stage has an endpoint of its own; the source's is in its spec.
        at = s3.environment()
        at["AWS_ENDPOINT_URL_S3"] = at.pop("AWS_ENDPOINT_URL")
        environment = {
            **os.environ,
            **aws.environment,
            **at,
            "SHARDER_BROKER": redis.url,
            "SHARDER_STAGE": f"s3://{s3.create()}/elt",
        }
        say(f"SHARDER_BROKER={redis.url} SHARDER_STAGE={environment['SHARDER_STAGE']}")
        for n in (1, 2):
            stack.enter_context(program(environment, "worker", "run", "--name", f"worker{n}"))
        stack.enter_context(program(environment, "loader", "run"))
        submit = [PROGRAMS / "sharder", "submit", os.path.relpath(SPEC)]
        say(f"$ sharder submit {os.path.relpath(SPEC)}")
        code = subprocess.run(submit, env=environment, check=False).returncode
        os.environ.update(environment)
        stage = Stage(open_store(environment["SHARDER_STAGE"]))
        closed = [s for run in stage.runs() if (s := stage.summary(run, 1))]
        if complaint := judge(code, closed, aws):
            say(f"not what should have happened: {complaint}")
            return 1
        say(
            f"exit code 3, and the only reason is that {names(aws, aws.denied)} refuses its role.\n"
        )
        report(aws)
    return 0


@contextmanager
def program(environment: Mapping[str, str], *command: str) -> Iterator[None]:
    """One program of the fleet, its log in .sharder/; ended by SIGTERM, as Kubernetes does."""
    log = Path(".sharder") / f"{command[-1]}-{command[0]}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(
            [PROGRAMS / command[0], *command[1:]], env=environment, stdout=out, stderr=out
        )
    say(f"$ {' '.join(command)}    (log: {log})")
    try:
        yield
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    raise SystemExit(main())
