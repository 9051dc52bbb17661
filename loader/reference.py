"""Reference pages that are made from the code: types, options, tables. A test compares them with the files.

python -m loader.reference docs/reference
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from contracts import types
from contracts.table import Table
from loader import ours
from loader.transformers.basic import options as basic
from loader.transformers.jsonflattener import Options as Flattener
from loader.warehouses import registry

BEGIN, END = "<!-- generated: {} -->", "<!-- end -->"

_TYPES: tuple[tuple[str, pa.DataType], ...] = (
    ("null", pa.null()), ("bool", pa.bool_()),
    ("int8", pa.int8()), ("int16", pa.int16()), ("int32", pa.int32()), ("int64", pa.int64()),
    ("uint8", pa.uint8()), ("uint16", pa.uint16()), ("uint32", pa.uint32()), ("uint64", pa.uint64()),
    ("float16", pa.float16()), ("float32", pa.float32()), ("float64", pa.float64()),
    ("decimal(p, s), 38 digits at most", pa.decimal128(38, 9)),
    ("decimal(p, s), more digits", pa.decimal256(76, 9)),
    ("string, large_string, string_view", pa.string()),
    ("binary, large_binary, binary_view, fixed_size_binary", pa.binary()),
    ("date32, date64", pa.date32()),
    ("time32, time64[us]", pa.time64("us")), ("time64[ns]", pa.time64("ns")),
    ("timestamp[s], [ms], [us], with or without zone", types.TIMESTAMP),
    ("timestamp[ns], with or without zone", pa.timestamp("ns")),
    ("duration", pa.duration("us")), ("month_day_nano_interval", pa.month_day_nano_interval()),
    ("uuid", types.UUID), ("json", types.JSON), ("inet", types.INET), ("mac", types.MAC),
    ("list of T, every layout", pa.list_(pa.int64())),
    ("list of lists", pa.list_(pa.list_(pa.int64()))),
    ("struct", pa.struct([("a", pa.int64())])), ("list of structs", pa.list_(pa.struct([("a", pa.int64())]))),
    ("map", pa.map_(pa.string(), pa.int64())),
    ("dictionary of T", pa.dictionary(pa.int32(), pa.string())),
)  # fmt: skip


def types_section() -> str:
    """Every Arrow type beside its type in each engine."""
    engines = registry.dialects()
    rows = [
        [f"{label}", *(f"`{d.map_type(type_).sql}`" for d in engines.values())]
        for label, type_ in _TYPES
    ]
    return _table(["Arrow", *engines], rows)


def options_section() -> str:
    """The nested `spec` of each destination."""
    return "\n\n".join(f"## {name}\n\n{_options(name)}" for name in registry.names())


def tables_section() -> str:
    return "\n\n".join(_columns(table) for table in (ours.LOADS, ours.CELLS))


def _options(name: str) -> str:
    return _model(registry.options(name))


def _model(model: type[BaseModel]) -> str:
    rows = []
    for key, field in model.model_fields.items():
        default = "required" if field.is_required() else f"`{_shown(field.get_default())}`"
        rows.append([f"`{key}`", default, field.description or ""])
    return _table(["option", "default", "meaning"], rows)


def _shown(default: Any) -> str:
    """As YAML has it."""
    match default:
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[default]
        case tuple():
            return f"[{', '.join(default)}]"
        case _:
            return str(default) or "''"


def transformers_section() -> str:
    """Every kind of transformation with its fields, and the fields themselves."""
    kinds = [
        [f"`{kind}`", _fields(needs.required), _fields(needs.optional), needs.meaning]
        for kind, needs in basic.KINDS.items()
    ]
    return "\n\n".join((
        "## basic\n\n`transformations` is a list; each entry has a `kind`, `tables`, and the fields of its kind.",
        _table(["kind", "needs", "takes", "what it does"], kinds),
        _model(basic.Transformation),
        "## jsonflattener",
        _model(Flattener),
    ))  # fmt: skip


def _fields(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _columns(table: Table) -> str:
    rows = [[f"`{c.name}`", f"{c.type}", c.description] for c in table.columns]
    return f"### {table.name}\n\n{_table(['column', 'type', 'meaning'], rows)}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


PAGES: Mapping[str, tuple[str, Callable[[], str]]] = {
    "types.md": ("types", types_section),
    "warehouses.md": ("options", options_section),
    "warehouse-tables.md": ("tables", tables_section),
    "transformers.md": ("transformers", transformers_section),
}


def filled(page: str, text: str) -> str:
    """The page's text with its generated part made anew. Raises ValueError if it has no place for it."""
    name, section = PAGES[page]
    before, begin, rest = text.partition(BEGIN.format(name))
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no {BEGIN.format(name)} … {END}")
    return f"{before}{begin}\n\n{section()}\n\n{end}{after}"


def main(arguments: Any = None) -> None:
    (place,) = arguments or sys.argv[1:]
    for page in PAGES:
        path = Path(place) / page
        path.write_text(filled(page, path.read_text()))


if __name__ == "__main__":
    main()
