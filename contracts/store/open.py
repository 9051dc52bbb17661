"""`open_store(url)`: which implementation a URL means; `probe(store)`: whether commits can rest on it."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from contracts.errors import InputError, StoreUnfit
from contracts.store.base import Store
from contracts.store.local import LocalStore


def open_store(url: str) -> Store:
    """A directory (`./stage`, `/data/stage`, `file:///data/stage`) or `s3://bucket/prefix`."""
    if url.startswith("s3://"):
        from contracts.store.objects import ObjectStore

        return ObjectStore(url)
    if "://" in url and not url.startswith("file://"):
        raise InputError(f"no store for {url!r}", "use a directory or s3://bucket/prefix")
    return LocalStore(Path(url.removeprefix("file://")))


def probe(store: Store) -> None:
    """Two creates of one scratch key; raises StoreUnfit if the second is accepted."""
    key = f"probe/{uuid4().hex}"
    first = store.create(key, b"1")
    second = store.create(key, b"2")
    kept = store.get(key)
    store.delete([key])
    if not first or second or kept != b"1":
        raise StoreUnfit(
            f"{store.url} ignores 'create only' conditions, on which commits rest",
            "use a store that honours If-None-Match (S3, GCS, Azure Blob, MinIO) or a local directory",
        )
