"""Which IAM actions the operations need, and the smallest policy that allows a choice of tables.

`python -m worker.sources.aws.iam TABLE …` prints that policy; without tables, that of all.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from worker.sources.aws.locked import LockedTable, tables

# Services whose prefix in IAM is not their signing name.
_PREFIX = {"cloudwatch": "cloudwatch"}
# Actions that are not called as the operation is.
_ACTION = {
    "s3.ListBuckets": "s3:ListAllMyBuckets",
    "s3.GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3.GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
}


def action(operation: str) -> str:
    """`iam.ListUsers` → `iam:ListUsers`."""
    from worker.sources.aws import shapes  # the compiler's side: it loads the models

    if named := _ACTION.get(operation):
        return named
    service, _, op = operation.partition(".")
    prefix = _PREFIX.get(service) or shapes.service(service).signing_name
    return f"{prefix}:{op}"


def policy(chosen: Iterable[LockedTable]) -> dict[str, Any]:
    """A policy document that allows exactly the calls that these tables make."""
    actions = sorted({a for table in chosen for a in table.actions})
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def main(names: Sequence[str]) -> int:
    """Print the policy for some tables, or for all."""
    known = tables()
    if unknown := [n for n in names if n not in known]:
        sys.stderr.write(f"there is no table {unknown[0]!r}\n")
        return 2
    found = policy(known[n] for n in names or known)
    sys.stdout.buffer.write(
        orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
