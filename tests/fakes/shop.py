"""A source as somebody else writes it: shops with orders, lines below orders, taxes below lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.error import HTTPError

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from worker.sources.python.author import Chunk, Cursor, SimpleSource, Skip, table


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    shops: list[str] = Field(["north", "south"], description="Ids of the shops")
    token: str = Field("", description="Of the API", json_schema_extra={"secret": True})
    page: int = 3
    orders: int = 10
    trouble: dict[str, str] = Field({}, description="shop, or shop/table → what goes wrong there")


ORDERS = table(
    "shop_orders",
    {"id": "int64", "at": "timestamptz", "total": "decimal(12,2)", "buyer": "json", "tag": "text"},
    key="id",
    about={"at": "When it was placed"},
)
LINES = table("shop_lines", {"order_id": "int64", "line": "int32", "what": "text"}, key=["order_id", "line"], parent="shop_orders")  # fmt: skip
TAXES = table("shop_taxes", {"percent": "float64"}, parent="shop_lines")
EVENTS = table("shop_events", {"id": "int64", "kind": "text"}, key="id", cursor="id")
NOTES = table("shop_notes", {"text": "text"}, key="text", parent="shop_events")


class Shop(SimpleSource[Options]):
    declares = (ORDERS, LINES, TAXES, EVENTS, NOTES)

    def client_ids(self, table: str) -> Sequence[str]:
        return self.options.shops

    def rows(self, table: str, client: str, cursor: str) -> Iterator[Chunk]:
        self.pace(client)
        if table == "shop_events":
            yield from self._events(client, int(cursor or 0))
            return
        for first in range(0, self.options.orders, self.options.page):
            last = min(first + self.options.page, self.options.orders)
            yield [self._order(client, n) for n in range(first, last)]
            self._trouble(client)

    def _order(self, client: str, n: int) -> Mapping[str, Any]:
        at = f"2026-01-01T00:00:{n % 60:02}Z"
        return {"id": n, "at": at, "total": "12.50", "buyer": {"of": client}, "lines": 2}

    def _events(self, client: str, behind: int) -> Iterator[Chunk]:
        for first in range(behind, self.options.orders, self.options.page):
            ids = range(first + 1, min(first + self.options.page, self.options.orders) + 1)
            yield pa.record_batch({"id": pa.array(ids, pa.int32()), "kind": ["sold"] * len(ids)})
            self._trouble(client)
            yield Cursor(str(ids[-1]))

    def children(self, table: str, client: str, parent: Mapping[str, Any]) -> Iterator[Chunk]:
        self._trouble(f"{client}/{table}")
        if table == "shop_lines":
            yield [
                {"order_id": parent["id"], "line": i, "what": "ü"} for i in range(parent["lines"])
            ]
        elif table == "shop_notes":
            if parent["id"] > self.options.orders // 2:
                self._trouble(f"{client}/late")
            yield [{"text": f"{client} {parent['id']}"}]
        else:
            yield pa.table({"percent": [7.0, 19.0]})

    def _trouble(self, where: str) -> None:
        match self.options.trouble.get(where):
            case "denied":
                raise HTTPError("http://shop", 403, "Forbidden", {}, None)  # type: ignore[arg-type]
            case "off":
                raise Skip("no plan with orders")
            case "bug":
                raise KeyError("total")
            case _:
                return


def nothing(spec: Mapping[str, Any], context: object) -> object:
    """A factory that makes no source."""
    return object()


number = 7
