"""`open_store(url)`: which implementation a URL means; `probe(store)`: whether commits can rest on it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import uuid4

from contracts.errors import InputError, StoreUnfit
from contracts.store.base import Store
from contracts.store.local import LocalStore

FORMS = "use a directory, s3://bucket/prefix, gs://bucket/prefix or az://account/container/prefix"
PATIENCE_S = 30.0  # for so long transient answers of one request are retried


def open_store(
    url: str,
    *,
    environment: Mapping[str, str] = os.environ,
    patience_s: float = PATIENCE_S,
    sleep: Callable[[float], None] = time.sleep,
) -> Store:
    """A directory (`./stage`, `/data/stage`, `file:///data/stage`) or a bucket (docs/reference/stage.md)."""
    scheme, separated, _ = url.partition("://")
    if not separated or scheme == "file":
        return LocalStore(Path(url.removeprefix("file://")))
    from contracts.store.objects import ObjectStore

    match scheme:
        case "s3":
            from contracts.store.s3 import open_s3 as open_bucket
        case "gs":
            from contracts.store.gcs import open_gcs as open_bucket
        case "az" | "abfs" | "abfss":
            from contracts.store.azure import open_azure as open_bucket
        case _:
            raise InputError(f"no store for {url!r}", FORMS)
    return ObjectStore(open_bucket(url, environment, patience_s), sleep=sleep)


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
            "use a store that honours them (S3, GCS, Azure Blob, MinIO) or a local directory",
        )
