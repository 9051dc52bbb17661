"""Who may write a file whose name is the same for every load: the newest run, of one source.

A small object per such file says whose it is. It is written before the file: a loader that dies in between
keeps older runs from writing, and its own repetition writes the file. Looking and claiming are two requests,
so that two loaders at the very same moment may both pass (docs/design/files.md).
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import ClassVar

from contracts.documents import Document
from contracts.errors import Fenced, NotFound, Permanent
from contracts.store import Store
from loader.publication import Publication
from loader.warehouses.files.paths import OWN


class Claim(Document):
    """_sharder/claims/<hash of the key>.json. `sync_time` is naive UTC."""

    kind: ClassVar[str] = "claim"

    key: str
    run: str
    round: int
    source: str
    table: str
    sync_time: datetime


def claim(store: Store, place: str, key: str, table: str, p: Publication) -> None:
    """Raises Fenced if the file is a newer load's, Permanent if it is another source's of this run."""
    own = f"{place}{OWN}/claims/{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    try:
        held = Claim.from_bytes(store.get(own), own)
    except NotFound:
        held = None
    where = f"{store.url}/{key}"
    if held and (held.sync_time, held.round) > (p.sync_time, p.round):
        raise Fenced(
            f"{where} already holds round {held.round} of run {held.run} "
            f"(sync time {held.sync_time.isoformat()}); an older load must not write over it"
        )
    if held and held.run == p.run and (held.source, held.table) != (p.source, table):
        raise Permanent(
            f"{where} already holds table '{held.table}' of source '{held.source}' of this run",
            "put {{UUID}} into `path` and leave out no_rotate, or give each source a destination",
        )
    mine = Claim(
        key=key, run=p.run, round=p.round, source=p.source, table=table, sync_time=p.sync_time
    )
    if mine != held:
        store.put(own, mine.to_bytes())
