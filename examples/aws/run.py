"""The demonstration: sync a simulated AWS organisation, one account of which refuses us, into DuckDB.

`sharder submit` must end with exit code 3 (something failed, something was loaded) and the refused
account must be the only reason. This program says so and returns 0; anything else is a failure.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from time import monotonic

from contracts.summary import Summary
from examples.aws.estate import Estate, estate

SPEC = Path(__file__).with_name("spec.yml")
STAGE = Path(".sharder/stage")
DATABASE = Path(".sharder/aws.duckdb")

Line = Sequence[str | int]
Rows = Mapping[str, Mapping[str, int]]  # table → account → rows

# Service → the column under which the report counts it.
AREAS = {
    "ec2": "ec2",
    "elbv2": "ec2",
    "s3": "s3",
    "iam": "iam",
    "lambda": "serverless",
    "sqs": "serverless",
    "sns": "serverless",
    "dynamodb": "data",
    "rds": "data",
    "ecs": "containers",
    "ecr": "containers",
    "eks": "containers",
    "kms": "secrets",
    "secretsmanager": "secrets",
    "ssm": "secrets",
    "acm": "secrets",
}

FINDING = """
select b.tags ->> 'env' as account, count(*) as buckets,
       count(*) filter (where p.bucket_arn is null) as not_blocked
from aws_s3_buckets b
left join aws_s3_bucket_public_access_blocks p on p.bucket_arn = b.arn
group by all order by not_blocked desc
""".strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the estate")
    scale = parser.parse_args().scale
    say("building a simulated AWS organisation (about 20 seconds) …")
    started = monotonic()
    with estate(scale=scale) as aws:
        say(
            f"{len(aws.accounts)} accounts in {len(aws.regions)} regions at {aws.endpoint}"
            f" after {monotonic() - started:.0f} s; the role of {names(aws, aws.denied)} cannot be assumed"
        )
        before = set(summaries())
        code = submit(aws)
        new = sorted(set(summaries()) - before)
        complaint = judge(code, [Summary.from_bytes(path.read_bytes()) for path in new], aws)
        found = {} if complaint else rows()
        complaint = complaint or compare(found, aws.counts(), aws)
    if complaint:
        say(f"not what should have happened: {complaint}")
        return 1
    say(
        f"exit code 3, and the only reason is that {names(aws, aws.denied)} refuses its role: reported,"
        " not hidden. Every other account has exactly the rows that it should have.\n"
    )
    report(found, aws)
    return 0


def submit(aws: Estate) -> int:
    """Run the command that a user would type, its output shown."""
    command = ["sharder", "submit", os.path.relpath(SPEC)]
    say(f"$ AWS_ENDPOINT={aws.endpoint} {' '.join(command)}")
    # The command installed beside this interpreter, whether or not its environment is active.
    program = Path(sys.executable).with_name("sharder")
    return subprocess.run(
        [program, *command[1:]], env={**os.environ, **aws.environment}, check=False
    ).returncode


def summaries() -> Iterable[Path]:
    return STAGE.glob("runs/*/closed/*.json")


def judge(code: int, new: Sequence[Summary], aws: Estate) -> str:
    """Empty if the run failed in the refused accounts and nowhere else; otherwise what is wrong."""
    if code != 3:
        return f"sharder returned {code}, where 3 was expected"
    if len(new) != 1:
        return f"{len(new)} rounds were closed, where one was expected"
    (summary,) = new
    for load in summary.destinations:
        if load.error:
            return f"{load.table} was not loaded into {load.destination}: {load.error}"
    if not summary.problems:
        return "no cell failed although an account refuses its role"
    for problem in summary.problems:
        others = [c for c in problem.clients if c.split(":")[0] not in aws.denied]
        # Children of a table that was denied fail with the reason `parent`.
        refused = problem.reason in {"denied", "parent"} and not others
        if problem.outcome == "failed" and not refused:
            where = ", ".join(others or problem.clients)
            return f"{problem.table} of {where}: {problem.reason}: {problem.message}"
    return ""


def rows() -> dict[str, dict[str, int]]:
    """Table → account → rows in the warehouse. A client's id is its account, and mostly a region."""
    import duckdb

    found: dict[str, dict[str, int]] = {}
    with duckdb.connect(str(DATABASE), read_only=True) as warehouse:
        tables = warehouse.execute(
            "select table_name from duckdb_columns() where column_name = '_cq_client_id'"
            " and schema_name = 'main' and starts_with(table_name, 'aws_') order by all"
        ).fetchall()
        for (table,) in tables:
            counts = warehouse.execute(
                f"select split_part(_cq_client_id, ':', 1), count(*) from {table} group by 1"
            )
            found[table] = dict(counts.fetchall())
    return found


def compare(found: Rows, real: Rows, aws: Estate) -> str:
    """Empty if each account that did not refuse us has as many rows as the estate has things."""
    for table in sorted({*found, *real}):
        for account in aws.accounts.keys() - set(aws.denied):
            got, there = (r.get(table, {}).get(account, 0) for r in (found, real))
            if got != there:
                return f"{table} has {got} rows of {names(aws, [account])}, where {there} are there"
    return ""


def report(found: Rows, aws: Estate) -> None:
    """What is in the warehouse now, by account; then one question that such data answers."""
    import duckdb

    totals: dict[str, Counter[str]] = defaultdict(Counter)
    for table, counts in found.items():
        for account, count in counts.items():
            totals[account][AREAS.get(table.split("_")[1], "other")] += count
    show_inventory(totals, aws)
    say(f"\nBuckets whose public access is not blocked:\n\n{FINDING}\n")
    with duckdb.connect(str(DATABASE), read_only=True) as warehouse:
        answer = warehouse.execute(FINDING)
        show([column[0] for column in answer.description or ()], answer.fetchall())


def show_inventory(totals: Mapping[str, Counter[str]], aws: Estate) -> None:
    areas = [*dict.fromkeys(AREAS.values()), "other"]
    lines: list[Line] = []
    sums = [0] * (len(areas) + 1)
    for account, name in aws.accounts.items():
        counts = [totals[account][area] if account in totals else 0 for area in areas]
        counts.append(sum(counts))
        lines.append([name, account, *counts])
        sums = [a + b for a, b in zip(sums, counts, strict=True)]
    say(f"Resources per account in {DATABASE}:\n")
    show(["account", "id", *areas, "total"], [*lines, ["all", "", *sums]])


def show(header: Sequence[str], lines: Sequence[Line]) -> None:
    """An aligned table: text to the left, numbers to the right."""
    texts = [[*header], *([f"{v:,}" if isinstance(v, int) else v for v in x] for x in lines)]
    widths = [max(len(line[i]) for line in texts) for i in range(len(header))]
    numeric = [any(isinstance(line[i], int) for line in lines) for i in range(len(header))]
    for line in texts:
        cells = (
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, numeric, strict=True)
        )
        say("  ".join(cells).rstrip())


def names(aws: Estate, accounts: Iterable[str]) -> str:
    return " and ".join(f"{aws.accounts[a]} ({a})" for a in accounts)


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
