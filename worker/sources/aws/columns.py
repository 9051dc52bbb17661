"""The columns of a table: whom we asked, the members of its rows, and what its line adds to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from contracts.errors import Permanent
from worker.sources.aws import shapes
from worker.sources.aws.declaration import Declared
from worker.sources.aws.locked import Added, Call, LockedColumn
from worker.sources.aws.naming import column_name

_TYPES = {
    "str": "string",
    "int": "int64",
    "float": "double",
    "bool": "bool",
    "ts": shapes.TIMESTAMP,
    "json": "json",
}
# What a transform makes of its value; the others keep the type.
_MADE = {
    "tags": "json",
    "json": "json",
    "urljson": "json",
    "reason_time": shapes.TIMESTAMP,
    "ts": shapes.TIMESTAMP,
    "bucket_region": "string",
    "trim": "string",
    "part": "string",
}
_TAG_MEMBERS = ("Tags", "TagSet", "TagList", "tags")
_NOT_ROWS = frozenset({"ResponseMetadata", "ResultMetadata"})


@dataclass(frozen=True)
class Parts:
    """A line with its calls compiled: what the columns come from."""

    line: Declared
    service: str
    scope: str
    listing: Call
    each: Call | None
    merge: Call | None
    added: tuple[Added, ...]

    def output(self, call: Call) -> Any:
        """The shape of what a call answers."""
        return shapes.operation(f"{self.service}.{call.op}").output_shape

    @cached_property
    def item(self) -> Any:
        """The shape of one listed thing."""
        return shapes.below(self.output(self.listing), self.listing.path)

    @cached_property
    def row(self) -> Any:
        """The shape whose members are columns; None where `cols` says them."""
        if self.line.cols:
            return None
        return shapes.below(self.output(self.each), self.each.path) if self.each else self.item


def columns(parts: Parts) -> Iterator[LockedColumn]:
    """Context first, then members in the order of the model, then what was declared."""
    line = parts.line
    own = list(_declared(parts))
    asked = {c.name for c in own if c.source.startswith("@")}
    taken = {c.name for c in own} | set(line.skip)
    first = [c for c in own if c.name in asked or c.name == "arn"]
    yield from first
    for path, shape, prefix in _members(parts):
        column = _member(line, path, shape, prefix)
        if column.name in asked - set(line.skip):
            raise Permanent(
                f"the member {path!r} would be the column {column.name!r}, which says whom we asked",
                "write own: request, or rename it with ren:",
            )
        if column.name not in taken:
            taken.add(column.name)
            yield column
    yield from (c for c in own if c not in first)


def _members(parts: Parts) -> Iterator[tuple[str, Any, str]]:
    """(path in the row, shape or declared type, prefix of the column) of every column from the row."""
    line = parts.line
    if line.cols:
        yield from ((member, type_, "") for member, type_ in line.cols.items())
        return
    drop = _NOT_ROWS | (
        set(_TAG_MEMBERS) if any(a.column == "tags" for a in parts.added) else set()
    )
    for name, shape in shapes.members(parts.row).items():
        if name in line.unwrap:
            yield from ((f"{name}.{m}", s, "") for m, s in shapes.members(shape).items())
        elif name not in drop:
            yield name, shape, ""
    if parts.merge is not None:
        joined = shapes.below(parts.output(parts.merge), parts.merge.path)
        for name, shape in shapes.members(joined).items():
            yield f"{line.prefix}{name}", shape, line.prefix


def _member(line: Declared, path: str, shape: Any, prefix: str) -> LockedColumn:
    """A member (or one of `cols`) as a column."""
    if isinstance(shape, str):
        if path == "*":
            return LockedColumn(name="unknown_fields", type="json", source="*")
        name = column_name(path)
        step = "" if shape == "str" else shape
        return LockedColumn(name=name, type=_TYPES[shape], source=path, transform=step)
    last = path.removeprefix(prefix).split(".")[-1]
    name = prefix + column_name(last)
    name = line.ren.get(name, name)
    tags = last == line.tags if line.tags else (last in _TAG_MEMBERS and not prefix)
    if tags and shape.type_name in ("list", "map"):
        return LockedColumn(name="tags", type="json", source=path, transform="tags", about="Tags")
    text = shapes.about(shape)
    if cast := line.cast.get(name):
        return LockedColumn(name=name, type=_TYPES[cast], source=path, transform=cast, about=text)
    type_ = shapes.type_name(shape)
    json = type_ == "json"
    return LockedColumn(
        name=name,
        type=type_,
        source=path,
        names=shapes.names(shape) if json else None,
        holds=shapes.holds(shape) if json else {},
        sensitive=shapes.sensitive(shape),
        about=text,
    )


def _declared(parts: Parts) -> Iterator[LockedColumn]:
    """Columns that the line names: whom we asked, ARN, `copy`, `also`, extra calls."""
    line = parts.line
    own = "request_" if line.own else ""
    yield LockedColumn(
        name=f"{own}account_id", type="string", source="@account", about="The account asked"
    )
    if parts.scope == "region":
        yield LockedColumn(
            name=f"{own}region", type="string", source="@region", about="The region asked"
        )
    if line.arn:
        yield LockedColumn(
            name="arn", type="string", source=_arn(line.arn), about="Amazon Resource Name"
        )
    for column, source in line.copy_.items():
        yield LockedColumn(name=column, type="string", source=f"^{source}", about="Of the parent")
    for column, text in line.also.items():
        path, _, transform = text.partition("|")
        yield _derived(column, path, transform, parts.item if path == "." else parts.row)
    for extra in parts.added:
        shape = shapes.below(
            shapes.below(parts.output(extra.call), extra.call.path), extra.call.rest
        )
        transform = extra.call.transform
        made: Any = _MADE.get(transform.split(" ")[0]) or shapes.type_name(shape)
        yield LockedColumn(
            name=extra.column,
            type=made,
            source=f"+{extra.column}",
            names=shapes.names(shape) if made == "json" and not transform else None,
            holds=shapes.holds(shape) if made == "json" and not transform else {},
            sensitive=shapes.sensitive(shape),
            about=f"From {extra.call.op}",
        )


def _derived(column: str, path: str, transform: str, shape: Any) -> LockedColumn:
    found = shape if path == "." or shape is None else shapes.below(shape, path)
    made = _MADE.get(transform.split(" ", maxsplit=1)[0]) or ("string" if found is None else "")
    return LockedColumn(
        name=column,
        type=made or shapes.type_name(found),
        source=path,
        transform=transform,
        names=shapes.names(found) if not made and shapes.type_name(found) == "json" else None,
        about="" if path == "." or found is None else shapes.about(found),
    )


def _arn(text: str) -> str:
    """`=Member` is a member; `service:resource` gets region and account; four parts stand as they are."""
    if text.startswith("="):
        return text.removeprefix("=")
    if text.split("{", maxsplit=1)[0].count(":") == 1:
        service, _, resource = text.partition(":")
        text = f"{service}:{{@region}}:{{@account}}:{resource}"
    return f"arn:{text}"
