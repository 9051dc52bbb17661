"""Tables under another name."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from contracts.table import Table
from loader.transformers.base import Shown
from loader.transformers.basic.options import OLD_NAME, Transformation


def show(t: Transformation, table: Table, at: datetime) -> Shown:
    del at
    return Shown(replace(table, name=renamed(t, table.name)))


def renamed(t: Transformation, name: str) -> str:
    return OLD_NAME.sub(lambda _: name, t.new_table_name_template)
