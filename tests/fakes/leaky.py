"""A source that tells its token wherever it can: in errors of ours and of others, whole and in pieces."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from contracts.table import Table
    from worker.sources.base import Clients, Context, Event, Work

Place = Literal["open", "read", "cell", "crash", "log", "nowhere"]


class Options(BaseModel):
    """`at`: where the token is told; `ours`: by an error of ours."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: str = Field(json_schema_extra={"secret": True})
    at: Place = "read"
    ours: bool = False
    marker: str = ""  # planning works until this file is there


def open(spec: Mapping[str, Any], context: Context) -> LeakySource:  # noqa: A001 the registry's name
    del context
    return LeakySource(Options.model_validate(dict(spec)))


class LeakySource:
    def __init__(self, options: Options) -> None:
        self._options = options
        if options.at == "open":
            self._fail()

    def _said(self) -> str:
        token = self._options.token
        carried = base64.b64encode(token.encode()).decode()
        return f"refused {token!r}, {quote(token, safe='')}, Authorization: Basic {carried}"

    def _fail(self) -> None:
        from contracts.errors import Denied

        if self._options.ours:
            raise Denied(self._said(), f"renew {self._options.token}")
        raise RuntimeError(self._said())

    def tables(self) -> Sequence[Table]:
        import pyarrow as pa

        from contracts.table import Column, Table

        return [Table("secrets", (Column("id", pa.int64(), primary_key=True),))]

    def clients(self, table: Table) -> Clients:
        from worker.sources.base import Clients

        del table
        return Clients("all", ("ann",))

    def read(self, work: Work, cursors: Mapping[str, str]) -> Iterator[Event]:
        import pyarrow as pa

        from worker.sources.base import CellDone, Rows

        del cursors
        yield Rows("secrets", "ann", pa.record_batch({"id": [1]}))
        match self._options.at:
            case "read":
                self._fail()
            case "cell":
                yield CellDone("secrets", "ann", "failed", "denied", self._said())
                return
            case "log":
                logging.getLogger("worker").warning("library said %s", self._said())
                logging.getLogger("some.library").error("library said %s", self._said())
        yield CellDone("secrets", "ann")
        del work

    def close(self) -> None:
        if self._options.at == "crash":  # nobody expects a source to fail here
            self._fail()
