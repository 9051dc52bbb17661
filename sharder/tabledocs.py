"""Documents of tables in CloudQuery's layout: `__tables.json`, or a Markdown page per table.

Pure: tables and what their source knows of them come in, texts by file name go out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa

from contracts.table import Column, Table, trees, with_cq_columns
from contracts.types import extension_of
from worker.sources.base import Facts

Known = Callable[[Table], Facts]


def type_name(type_: pa.DataType) -> str:
    """An Arrow type as Go's Arrow library writes it, which is how CloudQuery's documents have it."""
    if name := extension_of(type_):
        return name
    text = str(type_)
    if text in _GO:
        return _GO[text]
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return f"{text.split('<', maxsplit=1)[0]}<{_element(type_.value_field)}>"
    if pa.types.is_fixed_size_list(type_):
        return f"fixed_size_list<{_element(type_.value_field)}>[{type_.list_size}]"
    if pa.types.is_struct(type_):
        fields = (type_.field(i) for i in range(type_.num_fields))
        return f"struct<{', '.join(f'{f.name}: {type_name(f.type)}' for f in fields)}>"
    if pa.types.is_map(type_):
        nullable = ", items_nullable" if type_.item_field.nullable else ""
        return f"map<{type_name(type_.key_type)}, {type_name(type_.item_type)}{nullable}>"
    if pa.types.is_decimal(type_):
        return f"{text.split('(', maxsplit=1)[0]}({type_.precision}, {type_.scale})"
    if pa.types.is_dictionary(type_):
        values, indices = type_name(type_.value_type), type_name(type_.index_type)
        return (
            f"dictionary<values={values}, indices={indices}, ordered={str(type_.ordered).lower()}>"
        )
    return text


# Where Go's names differ from those of the C++ library.
_GO = {
    "string": "utf8",
    "large_string": "large_utf8",
    "halffloat": "float16",
    "float": "float32",
    "double": "float64",
    "date32[day]": "date32",
    "date64[ms]": "date64",
}


def _element(field: pa.Field) -> str:
    return f"{field.name}: {type_name(field.type)}{', nullable' if field.nullable else ''}"


def as_json(tables: Sequence[Table], known: Known) -> bytes:
    """`__tables.json`: top-level tables, each with its children in `relations`."""
    document = [_tree(tree[0], tree, known) for tree in trees(tables).values()]
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _tree(table: Table, tree: Sequence[Table], known: Known) -> dict[str, Any]:
    facts, whole = known(table), with_cq_columns(table)
    return {
        "name": table.name,
        "title": table.title,
        "description": table.description,
        "columns": [_column(c) for c in whole.columns],
        "relations": [_tree(t, tree, known) for t in tree if t.parent == table.name],
        "is_paid": facts.paid,
        "is_incremental": table.incremental,
        "permissions_needed": list(facts.permissions),
        "sensitive_columns": [c.name for c in whole.columns if c.sensitive],
    }


def _column(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": type_name(column.type),
        "is_primary_key": column.primary_key,
        "is_incremental_key": column.incremental_key,
        "is_primary_key_component": False,
        "type_schema": column.type_schema,
    }


def as_pages(source: str, tables: Sequence[Table], known: Known) -> Mapping[str, str]:
    """File name → Markdown: a README that lists the tables as a tree, and a page per table."""
    children: dict[str, list[str]] = {}
    for table in tables:
        children.setdefault(table.parent or "", []).append(table.name)
    pages = {"README.md": "\n".join([f"# Tables of {source}", "", *_index(tables), ""])}
    for table in tables:
        lines = list(_page(table, children.get(table.name, ()), known(table)))
        pages[f"{table.name}.md"] = "\n".join(lines) + "\n"
    return pages


def _index(tables: Sequence[Table]) -> Iterator[str]:
    depth: dict[str, int] = {}
    for tree in trees(tables).values():
        for table in tree:
            depth[table.name] = depth.get(table.parent or "", -1) + 1
            mark = " (incremental)" if table.incremental else ""
            yield f"{'  ' * depth[table.name]}- [{table.name}]({table.name}.md){mark}"


def _page(table: Table, children: Sequence[str], facts: Facts) -> Iterator[str]:
    yield f"# {table.name}"
    if table.title or table.description:
        yield ""
        yield from (_cell(t) for t in (table.title, table.description) if t)
    notes = list(_notes(table, facts))
    if notes:
        yield ""
        yield from notes
    whole = with_cq_columns(table)
    yield ""
    yield f"The primary key is {', '.join(f'`{name}`' for name in whole.primary_key)}."
    if table.parent or children:
        yield ""
        yield from [f"- parent: [{table.parent}]({table.parent}.md)"] if table.parent else []
        yield from (f"- child: [{name}]({name}.md)" for name in children)
    yield ""
    yield "| column | type | |"
    yield "| --- | --- | --- |"
    for c in whole.columns:
        flags = [f.replace("_", " ") for f in ("primary_key", "incremental_key") if getattr(c, f)]
        about = ". ".join([", ".join(flags)] * bool(flags) + [_cell(c.description)] * bool(c.description))  # fmt: skip
        yield f"| {c.name} | `{type_name(c.type)}` | {about} |"
    if facts.permissions:
        yield ""
        yield "Permissions:"
        yield ""
        yield from (f"- `{permission}`" for permission in facts.permissions)


def _notes(table: Table, facts: Facts) -> Iterator[str]:
    if table.incremental:
        keys = ", ".join(f"`{c.name}`" for c in table.columns if c.incremental_key)
        yield f"Only new rows are read{f', by {keys}' if keys else ''}, where the spec has `backend_options`."
    if facts.paid:
        yield "Its calls are billed; it is offered with `use_paid_apis: true` only."


def _cell(text: str) -> str:
    """A description on one line, safe inside of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")
