"""Runs a spec every night in Airflow 3; a task that is tried again repeats only what did not end ok.

Change: SPEC, the stage, the schedule, and the connection `warehouse` (its URI becomes ${POSTGRESQL_URL} of
the spec). `sharder` must be installed where the task runs: `pip install 'sharder[aws,s3,postgresql]'`.
"""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import Connection, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

SPEC = "/opt/airflow/specs/spec.yml"
STAGE = "s3://change-me/elt"  # not a directory: the next try may be on another machine
SUMMARIES = Path("/opt/airflow/logs/sharder")

OK, INPUT, PARTIAL, OUTSIDE, BUSY = 0, 2, 3, 4, 5


def attempt(run: str, environment: dict[str, str]) -> int:
    """One try of the run; the exit code that it came to.

    A run that is known goes on where it stopped. Of one that is closed, only what did not end ok is done.
    """
    summary = ["--summary-location", str(SUMMARIES / f"{run}.jsonl")]
    code = subprocess.run(
        ["sharder", "sync", SPEC, "--run-id", run, *summary], env=environment, check=False
    ).returncode
    if code in {PARTIAL, OUTSIDE}:
        again = subprocess.run(
            ["sharder", "retry", run, *summary], env=environment, check=False
        ).returncode
        # The better answer of the two stands; INPUT says that there is no run that came to a plan.
        code = code if again == INPUT else min(code, again)
    return code


@dag(
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # the tables show how things are; nights that were missed cannot be asked for
    max_active_runs=1,
)
def sharder_nightly() -> None:
    @task(retries=3, retry_delay=timedelta(minutes=10), execution_timeout=timedelta(hours=6))
    def sync() -> None:
        dag_run = get_current_context()["dag_run"]
        at = dag_run.logical_date or dag_run.run_after
        code = attempt(
            f"{dag_run.dag_id}-{at:%Y%m%dT%H%M%S}",
            {
                **os.environ,
                "SHARDER_STAGE": STAGE,
                "POSTGRESQL_URL": Connection.get("warehouse").get_uri(),
            },
        )
        match code:
            case 0:
                return
            case 2:
                raise AirflowFailException("the spec, a variable or the command line is wrong")
            case 3:
                raise AirflowException("something failed, the rest is loaded")
            case 4:
                raise AirflowException(
                    "nothing was loaded: a service does not answer or refuses us"
                )
            case 5:
                raise AirflowException("another run of these sources is at work")
            case _:
                raise AirflowException(f"sharder ended with {code}")

    sync()


sharder_nightly()
