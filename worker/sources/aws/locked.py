"""The lock: every table as compiled from its declaration and one botocore release, as JSON.

Workers read this and never the models, so that two workers with different botocore releases write
the same columns. Sources of values are short texts (see `values.py`): `Member.Path`, `.` (the listed
item), `@account`, `@region`, `^column` (of the parent row), `+column` (of an extra call), `arn:template`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

from contracts import types
from contracts.table import Column, Table
from worker.sources.aws.declaration import Shape

FORMAT = 1

Names = Mapping[str, Any]  # which keys of a JSON value are members, to be capitalised


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Paging(_Model):
    """How to read on: inputs `send` take the values found at `take`, as long as `more` (if any) is true."""

    send: tuple[str, ...]
    take: tuple[str, ...]
    more: str = ""


class Call(_Model):
    """One operation. `path` leads to what is wanted of the output, in the way that `shape` says."""

    op: str
    inputs: Mapping[str, Any] = {}  # constants, the page size among them
    args: Mapping[str, str] = {}  # inputs by source
    batch: str = ""  # the input that takes up to `size` rows at once
    size: int = 0
    shape: Shape = "many"
    path: str = ""
    key: str = ""  # in each element of `path`: the value of `batch` to which it belongs
    rest: str = ""  # what is wanted of the element found by `key`
    transform: str = ""
    absent: tuple[str, ...] = ()
    paging: Paging | None = None


class Added(_Model):
    """A column that needs a call of its own."""

    column: str
    call: Call


class LockedColumn(_Model):
    name: str
    type: str | dict[str, Any]
    source: str
    transform: str = ""
    names: Names | None = None
    holds: Mapping[str, str] = {}  # keys of a JSON object → CloudQuery's names of their types
    sensitive: bool = False
    about: str = ""

    @property
    def type_schema(self) -> str:
        return orjson.dumps(dict(self.holds)).decode() if self.holds else ""


class LockedTable(_Model):
    """Everything a worker needs to read one table."""

    name: str
    service: str
    scope: str  # region or account; a child has its parent's
    about: str = ""
    parent: str = ""
    list: Call
    hook: str = ""
    each: Call | None = None
    merge: Call | None = None
    prefix: str = ""
    added: tuple[Added, ...] = ()
    at: str = ""  # source of the region to call
    paid: bool = False
    actions: tuple[str, ...] = ()  # IAM
    key: tuple[str, ...]
    columns: tuple[LockedColumn, ...]

    @property
    def table(self) -> Table:
        return Table(
            name=self.name,
            parent=self.parent or None,
            description=self.about,
            columns=tuple(
                Column(
                    c.name,
                    types.decode(c.type),
                    primary_key=c.name in self.key,
                    description=c.about,
                    type_schema=c.type_schema,
                    sensitive=c.sensitive,
                )
                for c in self.columns
            ),
        )


class Lock(_Model):
    """One service's tables, parents before children."""

    version: int = FORMAT
    botocore: str
    tables: tuple[LockedTable, ...]


class Regions(_Model):
    """Partition → its regions; service → the regions in which the models do not know it."""

    version: int = FORMAT
    botocore: str
    partitions: Mapping[str, tuple[str, ...]]
    absent: Mapping[str, tuple[str, ...]]

    def partition(self, region: str) -> str:
        """The partition of a region; unknown ones are taken for new ones of the largest partition."""
        return next((p for p, regions in self.partitions.items() if region in regions), "aws")


@lru_cache(maxsize=1)
def tables() -> Mapping[str, LockedTable]:
    """All tables by name, in the order of the lock files."""
    folder = files("worker.sources.aws") / "lock"
    names = sorted(f.name for f in folder.iterdir() if f.name.endswith(".json"))
    locks = (
        Lock.model_validate(orjson.loads((folder / name).read_bytes()))
        for name in names
        if name != "regions.json"
    )
    return {table.name: table for lock in locks for table in lock.tables}


@lru_cache(maxsize=1)
def regions() -> Regions:
    text = (files("worker.sources.aws") / "lock" / "regions.json").read_bytes()
    return Regions.model_validate(orjson.loads(text))
