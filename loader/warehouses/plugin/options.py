"""What is known of a destination plugin without starting it: its options are its own, its promises follow from the protocol."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import RootModel

from contracts.spec import Destination
from loader.warehouses.base import Traits

# A program may hold its file alone (SQLite, DuckDB), and an idle one is dear: between loads of a fleet it ends.
_MERGING = Traits("keyed-idempotent", shared=False, lands=False, fenced=False)
_APPENDING = replace(_MERGING, guarantee="at-least-once")


class Options(RootModel[dict[str, Any]]):
    """The nested `spec` as it is written: only the plugin knows what it means."""

    root: dict[str, Any] = {}


def traits(destination: Destination) -> Traits:
    """The protocol has no transaction and no receipt: rows are told apart by keys alone."""
    return _APPENDING if destination.write_mode == "append" else _MERGING
