"""The options of the `hackernews` source: CloudQuery's, and the address of the API."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from contracts.specfile import times

DEFAULT_CONCURRENCY = 100


class Options(BaseModel):
    """The `spec` of a source whose path is `cloudquery/hackernews`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    item_concurrency: int = Field(
        DEFAULT_CONCURRENCY,
        le=1000,
        description="Items fetched at once, 1 to 1000; zero or less means 100",
    )
    start_time: str = Field(
        "24 hours ago",
        description="Skip older items: a time (`2024-01-31T00:00:00Z`), a date, or relative text "
        "(`3 days ago`); the state of an earlier run wins if it is later",
    )
    base_url: str = Field(
        "https://hacker-news.firebaseio.com/v0",
        description="Address of the API; it serves `maxitem.json` and `item/ID.json`",
    )

    @field_validator("item_concurrency")
    @classmethod
    def _default_for_nothing(cls, value: int) -> int:
        return value if value > 0 else DEFAULT_CONCURRENCY

    @field_validator("start_time")
    @classmethod
    def _is_a_time(cls, value: str) -> str:
        try:
            times.parse(value, datetime.now(UTC))
        except OverflowError as error:
            raise ValueError(f"out of range: {value!r}") from error
        return value

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"not an address: {value!r}; it begins with https:// or http://")
        return value.rstrip("/")
