"""What the loader's `prepare` job found in a destination, before planning."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from contracts.documents import Document


class Failure(BaseModel):
    """An error that crossed from one program to another: its text, exit code, and the name of its class."""

    model_config = ConfigDict(frozen=True)

    message: str
    exit_code: int = 4
    kind: str = ""


class Server(BaseModel):
    """The engine of a destination: what it is, and its clock in seconds since the epoch.

    `oldest`: the oldest version that is supported; empty if the version comes with this program.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    now_s: float
    oldest: str = ""


class Cursors(Document):
    """cursors/<destination>.json. `cursors`: source → key → value, as CloudQuery's state table holds them."""

    kind: ClassVar[str] = "cursors"

    run: str
    destination: str
    guarantee: str = ""
    cursors: Mapping[str, Mapping[str, str]] = {}
    last_sync: Mapping[
        str, datetime
    ] = {}  # source → its newest sync time recorded in the destination
    server: Server | None = None  # asked last; None: there is none, or an older release wrote this
    error: Failure | None = None
