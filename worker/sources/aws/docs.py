"""`python -m worker.sources.aws.docs` writes the reference page of this source from its model and its lock."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from worker.sources.aws import locked
from worker.sources.aws.locked import LockedTable
from worker.sources.aws.options import AccountOptions, Options, OrgOptions, PrincipalOptions

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "sources" / "aws.md"

_HEAD = """# The source `aws`

This page is generated: `python -m worker.sources.aws.docs`.

Reads AWS accounts through their own APIs. Options have CloudQuery's names; `path: cloudquery/aws` of an
existing spec works as it is.

```yaml
kind: source
spec:
  name: aws
  path: cloudquery/aws
  version: v33.0.0
  tables: [aws_ec2_instances, aws_s3_*]
  destinations: [warehouse]
  spec:
    regions: [us-east-1, eu-west-1]
    org:
      member_role_name: reader
```

Workers assume the roles themselves and renew them before they end; the plan holds account numbers and
regions only. A cell (one table, one account, one region) that may not be read ends `failed (denied)`, never
as an empty table; a region or service that is not enabled ends `skipped`. Without `regions` the enabled regions
of the planning account are read, in every account. Tables of services that AWS does not offer in a
region are not asked for there.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_options(), *_policy(), *_tables(), ""])


def _options() -> Iterator[str]:
    yield "## Options\n"
    yield from _model(Options)
    for title, model in (
        ("`accounts[]`", AccountOptions),
        ("`org`", OrgOptions),
        ("`org.admin_account`, `org.member_trusted_principal`", PrincipalOptions),
    ):
        yield f"\n### {title}\n"
        yield from _model(model)


def _model(model: type[BaseModel]) -> Iterator[str]:
    yield "| option | default | meaning |"
    yield "| --- | --- | --- |"
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else _default(field.default)
        yield f"| `{name}` | {default} | {field.description} |"


def _default(value: Any) -> str:
    if value in ("", None, [], {}):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _policy() -> Iterator[str]:
    yield "\n## Rights\n"
    yield "The actions that a table needs are listed with it. The smallest policy for some tables:\n"
    yield "```"
    yield "python -m worker.sources.aws.iam aws_ec2_instances aws_s3_buckets"
    yield "```"


def _tables() -> Iterator[str]:
    tables = locked.tables()
    yield f"\n## Tables ({len(tables)})\n"
    yield "Columns without a type are text. Columns of the key are **bold**.\n"
    for name in sorted(tables):
        yield from _table(tables[name])


def _table(table: LockedTable) -> Iterator[str]:
    paid = " Only with `use_paid_apis`." if table.paid else ""
    parent = f", child of [`{table.parent}`](#{table.parent})" if table.parent else ""
    grain = "per account" if table.scope == "account" else "per account and region"
    yield f"### {table.name}\n"
    yield f"{table.about}; read {grain}{parent}.{paid}"
    yield f"Actions: {', '.join(f'`{a}`' for a in table.actions)}.\n"
    columns = (_column(c.name, c.type, bold=c.name in table.key) for c in table.columns)
    yield f"{', '.join(columns)}\n"


def _column(name: str, type_: str | dict[str, Any], *, bold: bool) -> str:
    if isinstance(type_, dict):
        short = f"list of {type_['list'][1]}"
    else:
        short = {"string": "", "timestamp[us, tz=UTC]": "timestamp"}.get(type_, type_)
    text = f"**`{name}`**" if bold else f"`{name}`"
    return f"{text} {short}".rstrip()


def main() -> int:
    """Write the page."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), "utf-8")
    sys.stdout.write(f"{PAGE.name}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
