"""The object store: what a stage must be able to do, and `open_store(url)`.

Implementations: `local` (a directory) and `objects` (S3; GCS and Azure are one class away).
"""

from contracts.store.base import Entry, Store, Upload
from contracts.store.open import open_store, probe

__all__ = ["Entry", "Store", "Upload", "open_store", "probe"]
