"""Looking for planted secrets: in texts, files, Parquet and compressed ones, in every spelling."""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

from contracts.store import Store


class Planted:
    """Secrets by name. `word` makes one that no other text has, with characters that are escaped."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}

    def word(self, name: str, tail: str = '/+ü"=x') -> str:
        self.secrets[name] = f"Pl4nted{name}Zq9{tail}"
        return self.secrets[name]

    def plain(self, name: str) -> str:
        """One that stands in a URL as it is."""
        return self.word(name, "")

    def found(self, text: str | bytes) -> list[str]:
        """Names of the secrets that are told in a text, in any spelling."""
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        return [name for name, s in self.secrets.items() if any(w in data for w in _spellings(s))]


def _spellings(secret: str) -> set[bytes]:
    core = secret.encode()
    found = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]}
    found |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    # The part that no spelling changes, so that a piece of a secret is found as well.
    found.add(secret[: secret.index("Zq9") + 3])
    spelled = {text.encode() for text in found}
    for before in range(3):  # wherever it stands in what was encoded
        whole = base64.b64encode(b"\0" * before + core)
        spelled.add(whole[4 if before else 0 : len(whole) - 4])
    return spelled


def in_files(planted: Planted, place: Path, *leave_out: Path) -> dict[str, list[str]]:
    """File → secrets in it."""
    found = {}
    for path in sorted(place.rglob("*")):
        if path.is_file() and path not in leave_out:
            told = planted.found(opened(path.name, path.read_bytes()))
            found |= {str(path.relative_to(place)): told} if told else {}
    return found


def in_store(planted: Planted, store: Store) -> dict[str, list[str]]:
    """Key → secrets in the object, or in the key."""
    found = {}
    for entry in store.list(""):
        told = planted.found(opened(entry.key, store.get(entry.key)) + entry.key.encode())
        found |= {entry.key: told} if told else {}
    return found


def opened(name: str, data: bytes) -> bytes:
    """The bytes, and behind them what they hold where they are compressed."""
    if data[:4] == b"PAR1":
        import pyarrow.parquet as pq

        file = pq.ParquetFile(io.BytesIO(data))
        rows = (
            repr(file.read().to_pylist()) + repr(file.schema_arrow) + repr(file.metadata.metadata)
        )
        return data + rows.encode("utf-8", "surrogatepass")
    return data + gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def in_postgresql(planted: Planted, dsn: str) -> dict[str, list[str]]:
    """Table → secrets in it."""
    import psycopg

    found = {}
    with psycopg.connect(dsn) as warehouse:
        for table, text in _tables(warehouse):
            told = planted.found(text)
            found |= {table: told} if told else {}
    return found


def _tables(warehouse: object) -> Iterator[tuple[str, str]]:
    execute = warehouse.execute  # type: ignore[attr-defined]
    names = execute(
        "SELECT schemaname, tablename FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    ).fetchall()
    for schema, table in names:
        rows = execute(f'SELECT t::text FROM "{schema}"."{table}" AS t'.encode()).fetchall()
        yield f"{schema}.{table}", repr(rows)
