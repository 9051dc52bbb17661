"""An asset per day and spec in Dagster, with a check that says whether the day is complete.

Change: SPEC, the stage, the schedule, the first day. Secrets come from Dagster's environment (`EnvVar`), and
`sharder` must be installed where the run runs: `pip install 'sharder[aws,s3,postgresql]'`.
"""

import json
import os
import subprocess
from pathlib import Path

import dagster as dg

SPEC = "spec.yml"
STAGE = "s3://change-me/elt"  # not a directory: the next try may be on another machine
SECRETS = ("POSTGRESQL_URL",)  # what ${…} of the spec names

OK, INPUT, PARTIAL, OUTSIDE = 0, 2, 3, 4


def attempt(run: str, environment: dict[str, str], summary: Path) -> int:
    """One try of the run; the exit code that it came to.

    A run that is known goes on where it stopped. Of one that is closed, only what did not end ok is done.
    """
    told = ["--summary-location", str(summary)]
    code = subprocess.run(
        ["sharder", "sync", SPEC, "--run-id", run, *told], env=environment, check=False
    ).returncode
    if code in {PARTIAL, OUTSIDE}:
        again = subprocess.run(
            ["sharder", "retry", run, *told], env=environment, check=False
        ).returncode
        # The better answer of the two stands; INPUT says that there is no run that came to a plan.
        code = code if again == INPUT else min(code, again)
    return code


def told(summary: Path) -> dict[str, int]:
    """Rows per source and destination: each round of the run added a line."""
    rows: dict[str, int] = {}
    for line in summary.read_text().splitlines() if summary.exists() else ():
        said = json.loads(line)
        pair = f"{said['source_name']} to {said['destination_name']}"
        rows[pair] = rows.get(pair, 0) + said["resources"]
    return rows


@dg.asset(
    partitions_def=dg.DailyPartitionsDefinition(start_date="2026-01-01"),
    check_specs=[dg.AssetCheckSpec("complete", asset="accounts")],
    retry_policy=dg.RetryPolicy(max_retries=2, delay=600),
    # One run at a time: two of the same source and destination refuse each other (exit code 5).
    pool="sharder",
)
def accounts(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """What the accounts hold, in the warehouse."""
    secrets = {name: dg.EnvVar(name).get_value() or "" for name in SECRETS}
    run = f"accounts-{context.partition_key}"
    summary = Path(f"{run}.jsonl")
    code = attempt(run, {**os.environ, **secrets, "SHARDER_STAGE": STAGE}, summary)
    if code not in {OK, PARTIAL}:
        # Wrong input fails in the same way again; everything else may be over by the next try.
        raise dg.Failure(f"sharder ended with {code}", allow_retries=code != INPUT)
    # 3: something failed and the rest is loaded. The rows are there, so the asset is; the check is not passed.
    check = dg.AssetCheckResult(
        check_name="complete", passed=code == OK, metadata={"retry": f"sharder retry {run}"}
    )
    return dg.MaterializeResult(metadata=told(summary), check_results=[check])


nightly = dg.define_asset_job("nightly", selection=[accounts])

definitions = dg.Definitions(
    assets=[accounts],
    jobs=[nightly],
    schedules=[dg.build_schedule_from_partitioned_job(nightly, hour_of_day=2)],
)
