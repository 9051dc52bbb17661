"""Specs of the estate plugin (tests/fakes/plugins/estate.py), and the rows that it is known to produce."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakes import specs
from tests.fakes.contents import Contents, Row, plain
from tests.fakes.plugins.programs import ESTATE

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
CQ = ("_cq_id", "_cq_parent_id", "_cq_source_name", "_cq_client_id")  # which are ours


def source(
    accounts: Iterable[str] | None, *, tables: Iterable[str] = ("*",), **options: Any
) -> specs.Document:
    """`state_in`: the destination that holds the state; everything else is the plugin's own."""
    outer: dict[str, Any] = {"registry": "local", "path": ESTATE, "tables": list(tables)}
    outer["destinations"] = options.pop("destinations", ["w"])
    if holder := options.pop("state_in", ""):
        options["state"] = True
        connection = f"@@plugins.{holder}.connection"
        outer["backend_options"] = {"table_name": "cq_state", "connection": connection}
    if accounts is not None:
        options["accounts"] = list(accounts)
    return {"kind": "source", "spec": {"name": "estate", **outer, "spec": options}}


def fleet(**settings: Any) -> specs.Document:
    """Accounts are clients."""
    return specs.fleet(plugins={"estate": {"clients": "accounts[]", **settings}})


def contents(
    sizes: Mapping[str, int], events: Mapping[str, Iterable[int]] | None = None
) -> Contents:
    """What a destination holds of these accounts: as `tests.fakes.contents` reads it, without `CQ`."""
    numbers = {a: range(1, n + 1) for a, n in sizes.items()} if events is None else events
    found = {
        "estate_machines": [_machine(a, n) for a, size in sizes.items() for n in range(size)],
        "estate_disks": [
            {"account": a, "machine_id": f"m-{n}", "id": f"m-{n}-d-{d}", "gib": 8 << d}
            for a, size in sizes.items()
            for n in range(size)
            for d in range(2)
        ],
        "estate_events": [
            {"account": a, "seq": seq, "text": f"event {seq}"}
            for a in numbers
            for seq in numbers[a]
        ],
    }
    return {t: sorted(rows, key=lambda row: repr(sorted(row.items()))) for t, rows in found.items()}


def _machine(account: str, n: int) -> Row:
    created = EPOCH + timedelta(minutes=n)
    row = {"account": account, "id": f"m-{n}", "cores": n % 8 + 1, "tags": {"n": n}}
    return row | {"created": plain(created.replace(tzinfo=None))}
