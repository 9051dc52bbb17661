"""The reference pages of the `hackernews`, `sql` and `file` sources, from their option models.

`python -m tests.docs_sources` writes them; a test fails while they differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from worker.sources.registry import options

PAGES = Path(__file__).parents[1] / "docs/reference/sources"
GENERATED = "This page is generated: `python -m tests.docs_sources`."

SQL = (
    """
Reads any database that has an ADBC driver: PostgreSQL, SQLite and DuckDB with everything below, others through the driver's own
catalogue. A client is a database; `_cq_client_id` is its name. How it works: [design/sql-source.md](../../design/sql-source.md).

```yaml
kind: source
spec:
  name: shop
  path: sql
  tables: ["*"]
  destinations: [warehouse]
  spec:
    connection_string: ${SHOP_URL}      # postgresql://reader:…@db/shop
    cursor_columns:
      orders: updated_at
```

Many databases of one shape (one per customer, say) are many clients of the same tables:

```yaml
    databases:
      - {name: north, connection_string: "${NORTH_URL}"}
      - {name: south, connection_string: "${SOUTH_URL}"}
```

A table outside the engine's default schema (`public`, `main`) carries its schema in front: `sales.orders` is `sales_orders`. Options
that name tables use these names. Columns `_cq_*` of a table that an ELT tool wrote are left behind, except `_cq_id` and `_cq_parent_id` of
type uuid.
""",
    """
## Types

Nothing is rounded, cut or guessed. A value that its planned type cannot hold fails its cell, named with table and column.

| PostgreSQL | Arrow |
| --- | --- |
| `numeric(p,s)` | decimal128, decimal256 above 38 digits; `NaN` fails the cell |
| `numeric` without precision, or above 76 digits | text, exact; `column_types: decimal(P,S)` for a number |
| `json`, `jsonb`, composite types, arrays declared with several dimensions | json |
| `uuid`, `inet` and `cidr`, `macaddr` | uuid, inet, mac |
| arrays | list of the element's type; a value of several dimensions fails the cell |
| `timestamptz`, `timestamp`, `date`, `time` | the same; `infinity` fails the cell, or is null with `infinity: "null"` |
| `interval` | month_day_nano_interval |
| `oid` | int64 |
| enums, `money`, `timetz`, ranges, `xml`, `bit`, geometry, everything else | text, as PostgreSQL prints it |
| domains, generated columns | as their base type |

| SQLite (declared) | Arrow |
| --- | --- |
| `INT…`, `BOOL…`, `REAL`/`FLOAT`/`DOUBLE`, `BLOB`, `JSON` | int64, bool, float64, binary, json; a stored value of another kind fails the cell |
| dates, `DECIMAL`, `NUMERIC`, text, none | text, exact; `column_types` makes dates and decimals of it |

| DuckDB | Arrow |
| --- | --- |
| `HUGEINT`, `UHUGEINT` | decimal256(39, 0) |
| `ENUM`, `BIT`, `BIGNUM`, `TIME WITH TIME ZONE` | text |
| unions, and nested types that hold one of the above | json |
| everything else | its own Arrow type |

## Incremental tables

`cursor_columns` makes a table incremental: the newest value of the column is read when the cell begins, rows up to it are read, and it
becomes the cursor, committed with the rows. The cursor's key is `source/table/client`.

| `cursor_boundary` | rows that equal the cursor | use it when |
| --- | --- | --- |
| `again` (default with a primary key) | come again next time; the key merges them | rows with an equal value may be committed late. In `append` mode they are doubled |
| `hold` (default without) | wait until a newer value exists | there is no key: nothing is lost or doubled, and the newest rows come one run later |
| `once` | are not read again | values are unique and grow in the order of commits |

A transaction that commits *smaller* values after a run has passed them is missed by any cursor. Nulls in the column come with every run
(`again`), or fail the cell. Rows that were deleted stay in the warehouse.

## Large tables

A cell above `slice_rows` or `slice_bytes` is cut when it is planned. On PostgreSQL its slices are ranges of blocks under one exported snapshot: rows
that are inserted, changed or deleted meanwhile are seen as they were when the run was planned, and no key is needed. The program that planned the
run holds the snapshot; if it ends, slices that were not read yet fail with a message that says so, and `retry` reads the cells again. With
`snapshot: false`, and on other engines, slices are ranges of an integer, date or uuid key; rows written meanwhile may or may not be seen.

## Errors

| what happened | outcome |
| --- | --- |
| wrong password, no permission to read a table | `failed (denied)` |
| host does not answer, server starts or is full | tried three times, then `failed` |
| table or column gone, or of another type than planned | `failed`, `failed (schema)` |
| `statement_timeout` | `failed (timeout)` |

One database that cannot be reached fails its own cells only. Connection strings never appear in messages.
""",
)

FILE = (
    """
Reads Parquet, CSV and JSON lines (also `.gz`, `.bz2`, `.zst`) from local paths, S3, and whatever else fsspec opens. A table is a set of
files and a client is a file: its id is the path relative to `base`, or the path as its pattern is written. A file that is gone is a departed client.

```yaml
kind: source
spec:
  name: drops
  path: file
  tables: ["*"]
  destinations: [warehouse]
  spec:
    base: s3://landing/shop
    tables:
      - {name: orders, path: "orders/*.parquet", primary_key: [id]}
      - {name: customers, path: customers.csv.gz, columns: {zip: text, balance: "decimal(12,2)"}}
```
""",
    """
## Types

The schema is settled when the run is planned: from `columns`, and for other columns from the beginning of the first, the last and some
files between. A file that disagrees later fails its own cell, with file and column named; a column that a file lacks is null there.

- **Parquet**: the file's own types, dictionaries resolved. Integers widen over files where they must.
- **CSV**: integers, floats, booleans, dates and timestamps are recognised. A column whose sample has numbers that would change (`007`, more than 15
  digits) is text. A float keeps 15 digits: name a `decimal(P,S)` where every digit counts. An unquoted empty field is null, `""` is the empty text.
- **JSON lines**: flat values are typed; nested or mixed ones are json, digit for digit. Texts stay texts, dates included, unless `columns` says otherwise.

## Large files

Parquet is cut by row groups, JSON lines by bytes at line ends, CSV by bytes only with `csv: {newlines_in_values: false}`. Compressed text is not
cut. A file that changed since it was cut fails its slices. A row of CSV must fit into a sixteenth of `batch_bytes`.

## Places

Local paths, `s3://` (credentials, region and AWS_ENDPOINT_URL from the usual AWS environment), and other URLs of fsspec whose package is installed
(`http://` needs aiohttp and requests, and lists nothing: name files one by one). With `base`, no path leaves it: not by `..`, not by
an absolute path, not by a link. A place that cannot be listed is not an empty one: nothing counts as departed then.
""",
)


HACKERNEWS = (
    """
Reads the items of Hacker News, as CloudQuery's plugin does: the same options, table, key and state. `base_url` is ours, for mirrors and tests.

```yaml
kind: source
spec:
  name: hackernews
  path: cloudquery/hackernews
  tables: ["*"]
  destinations: [duckdb]
  backend_options:
    table_name: cq_state
    connection: "@@plugins.duckdb.connection"
  spec:
    item_concurrency: 100
```
""",
    """
## Table `hackernews_items`

Key and incremental key `id`. One client, `hackernews`; all its items are one cell.

- It starts at the last id of the state plus one, or at the first item after `start_time`, found by bisection, if that is later.
- After every 1,000 ids a checkpoint: should the cell fail later, the rows up to there are loaded with their cursor, and the next run goes on
  behind them.
- The state is one row, key `hackernews_items`, in the table that `backend_options` names: CloudQuery's own state is read and continued.
- Items that the API answers with `null` are left out. A call that fails is tried 5 times, 10 seconds apart, or as `Retry-After` says.
""",
)

PARTS = {"hackernews": HACKERNEWS, "sql": SQL, "file": FILE}


def page(name: str) -> str:
    """The whole page of a source."""
    before, after = PARTS[name]
    model = options(name)
    parts = [
        f"# The source `{name}`\n\n{GENERATED}\n",
        before,
        "\n## Options\n\n",
        *_options(model),
    ]
    return "".join(parts).rstrip() + "\n" + after


def _options(model: type[BaseModel]) -> Iterator[str]:
    yield "| option | default | meaning |\n| --- | --- | --- |\n"
    nested: dict[str, type[BaseModel]] = {}
    for name, field in model.model_fields.items():
        if found := _model(field):
            nested[name] = found
        extra: Any = field.json_schema_extra or {}
        secret = " A secret: write `${NAME}`." if extra.get("secret") else ""
        yield f"| `{name}` | {_default(field)} | {field.description}{secret} |\n"
    for name, inner in nested.items():
        if inner is not model:
            yield f"\n### `{name}`\n\n{(inner.__doc__ or '').strip()}\n\n"
            yield from _options(inner)


def _model(field: FieldInfo) -> type[BaseModel] | None:
    for type_ in (field.annotation, *get_args(field.annotation)):
        if isinstance(type_, type) and issubclass(type_, BaseModel):
            return type_
    return None


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel) or value in ("", (), {}):
        return ""
    if isinstance(value, tuple):
        return ", ".join(f"`{v!r}`" for v in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def main() -> None:
    for name in PARTS:
        PAGES.mkdir(parents=True, exist_ok=True)
        (PAGES / f"{name}.md").write_text(page(name))


if __name__ == "__main__":
    main()
