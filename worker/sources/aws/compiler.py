"""A declaration and botocore's models → a locked table. Pure: the same inputs give the same lock."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from contracts.errors import Permanent
from worker.sources.aws import iam, shapes
from worker.sources.aws.columns import Parts, columns
from worker.sources.aws.declaration import Declared, Spoken, parent, spoken
from worker.sources.aws.locked import Added, Call, LockedColumn, LockedTable
from worker.sources.aws.values import TRANSFORMS

_STEP = re.compile(r"\|([^}]+)")  # a transform inside a source
# Services with one endpoint per partition: their tables are read once per account.
_GLOBAL = frozenset(
    [
        "account",
        "ce",
        "cloudfront",
        "cur",
        "iam",
        "networkmanager",
        "organizations",
        "route53",
        "savingsplans",
        "shield",
        "support",
        "waf",
    ]
)


def compiled(name: str, line: Declared) -> LockedTable:
    """One table. Raises Permanent that names the table and what in its line is wrong."""
    try:
        return _compiled(name, line)
    except Permanent as error:
        raise Permanent(f"{name}: {error.message}", error.hint) from error


def _compiled(name: str, line: Declared) -> LockedTable:
    service = line.op.partition(".")[0]
    up, up_args = parent(line.up) if line.up else ("", {})
    listing = _listing(line, {k: f"^{column}" for k, column in up_args.items()})
    each = _call(service, line.each, line.eachpar) if line.each else None
    merge = _call(service, line.merge) if line.merge else None
    added = tuple(Added(column=c, call=_call(service, t)) for c, t in line.add.items())
    scope = line.scope or ("account" if service in _GLOBAL else "region")
    calls = [listing, *filter(None, (each, merge)), *(a.call for a in added)]
    found = tuple(columns(Parts(line, service, scope, listing, each, merge, added)))
    _check(line, found)
    _check_transforms(calls, found)
    operations = {f"{service}.{call.op}" for call in calls} | set(line.calls)
    return LockedTable(
        name=name,
        service=service,
        scope=scope,
        about=line.about,
        parent=up,
        list=listing,
        hook=line.hook,
        each=each,
        merge=merge,
        prefix=line.prefix,
        added=added,
        at=line.at,
        paid=line.paid,
        actions=tuple(sorted(iam.action(o) for o in operations)),
        key=tuple(line.pk),
        columns=found,
    )


def _listing(line: Declared, args: Mapping[str, str]) -> Call:
    """The operation that gives the rows."""
    op = line.op.partition(".")[2]
    output = shapes.operation(line.op).output_shape
    rows = line.rows or ("" if line.hook else shapes.rows_path(line.op))
    whole = rows in ("", "@")
    if not whole:
        shapes.below(output, rows)
    size = shapes.page_size(line.op, line.limit)
    call = Call(
        op=op,
        inputs={**line.par, **size},
        args=dict(args),
        shape="whole" if whole else "many",
        path="" if whole else rows,
        absent=tuple(line.miss),
        paging=None if whole else shapes.paging(line.op),
    )
    _check_inputs(line.op, call)
    return call


def _call(service: str, text: str, inputs: Mapping[str, Any] | None = None) -> Call:
    """A further call, its path checked against the output."""
    said = spoken(text)
    name = f"{service}.{said.op}"
    output = shapes.operation(name).output_shape
    path, _, rest = said.path.partition(":")
    found = shapes.below(output, path)
    if said.shape == "keyed":
        shapes.below(found, said.key)
        shapes.below(found, rest)
    call = Call(
        op=said.op,
        inputs={**(inputs or {}), **_literals(said)},
        args={k: v for k, v in said.args.items() if not v.startswith("'")},
        batch=said.batch,
        size=said.size,
        shape=said.shape,
        path=path,
        key=said.key,
        rest=rest,
        transform=said.transform,
        absent=said.absent,
        paging=_further_paging(name, said, found),
    )
    _check_inputs(name, call)
    return call


def _further_paging(name: str, said: Spoken, found: Any) -> Any:
    """Lists are read to their end; a structure or a scalar comes whole in one answer."""
    lists = said.shape in ("many", "keyed") or (said.shape == "one" and found.type_name == "list")
    return shapes.paging(name) if lists else None


def _literals(said: Spoken) -> dict[str, str]:
    return {k: v.strip("'") for k, v in said.args.items() if v.startswith("'")}


def _check_inputs(name: str, call: Call) -> None:
    """Every input exists, and every required input is given."""
    shape = shapes.operation(name).input_shape
    given = {*call.inputs, *call.args}
    if unknown := given - set(shapes.members(shape)):
        raise Permanent(f"{name} has no input {', '.join(sorted(unknown))}")
    required = set(shape.required_members) if shape is not None else set()
    if missing := required - given:
        raise Permanent(f"{name} needs the input {', '.join(sorted(missing))}")


def _check(line: Declared, columns: tuple[LockedColumn, ...]) -> None:
    names = [c.name for c in columns]
    if twice := {n for n in names if names.count(n) > 1}:
        raise Permanent(
            f"two columns are called {', '.join(sorted(twice))}", "rename one with ren:"
        )
    if missing := set(line.pk) - set(names):
        raise Permanent(f"pk: no column {', '.join(sorted(missing))}; there are {', '.join(names)}")
    if unknown := set(line.cast) - set(names):
        raise Permanent(f"cast: no column {', '.join(sorted(unknown))}")


def _check_transforms(calls: Iterable[Call], columns: Iterable[LockedColumn]) -> None:
    """Every transform that a source or a call names exists."""
    steps = [c.transform for c in calls] + [c.transform for c in columns]
    sources = [c.source for c in columns] + [s for c in calls for s in c.args.values()]
    steps += [step for s in sources for step in _STEP.findall(s)]
    named = {step.split(" ")[0] for step in steps if step}
    if unknown := named - set(TRANSFORMS):
        raise Permanent(
            f"no transform {', '.join(sorted(unknown))}", f"there are {', '.join(TRANSFORMS)}"
        )
