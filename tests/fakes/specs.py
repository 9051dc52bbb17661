"""Specs for whole runs, written from values: `spec(source(…), duckdb())`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

Document = Mapping[str, Any]

DSN = "WAREHOUSE_DSN"  # the variable that leads to PostgreSQL


def spec(*documents: Document) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False)


def source(
    name: str,
    options: Mapping[str, Any],
    *,
    plugin: str = "",
    tables: Sequence[str] = ("*",),
    destinations: Sequence[str] = ("w",),
    **outer: Any,
) -> Document:
    """`plugin`: the source's own name if it is none of CloudQuery's."""
    return {
        "kind": "source",
        "spec": {
            "name": name,
            "path": f"cloudquery/{plugin or name}",
            "tables": list(tables),
            "destinations": list(destinations),
            **outer,
            "spec": dict(options),
        },
    }


def tree(**options: Any) -> Document:
    return source("trees", options, plugin="tree")


def aws(options: Mapping[str, Any], *tables: str) -> Document:
    return source("aws", options, tables=tables or ("*",))


def duckdb(file: str = "./w.duckdb", name: str = "w", **outer: Any) -> Document:
    return _destination("duckdb", name, {"connection_string": file}, outer)


def postgresql(dsn: str = f"${{{DSN}}}", name: str = "w", **outer: Any) -> Document:
    return _destination("postgresql", name, {"connection_string": dsn}, outer)


def fleet(**options: Any) -> Document:
    return {"kind": "fleet", "spec": options}


def _destination(
    plugin: str, name: str, options: Mapping[str, Any], outer: Mapping[str, Any]
) -> Document:
    body = {"name": name, "path": f"cloudquery/{plugin}", **outer, "spec": dict(options)}
    return {"kind": "destination", "spec": body}
