"""The object store: what a stage must be able to do, and `open_store(url)`.

Implementations: `local` (a directory) and `objects` (a bucket; `s3`, `gcs` and `azure` open it).
"""

from contracts.store.base import Entry, Store, Upload
from contracts.store.open import open_store, probe

__all__ = ["Entry", "Store", "Upload", "open_store", "probe"]
