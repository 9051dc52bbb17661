"""How the cells of one client end, from all that its plugin did and said: a decision without a process.

A stream that ends cleanly says little: SDKs leave out bad rows, and some whole tables, with nothing
but a line in their log. So an error that was logged fails the table that it names, or all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from contracts.errors import Reason, SharderError
from contracts.table import Table, trees
from worker.sources.base import CellDone

# What clouds and their SDKs call it; the words of plugins are all that crosses the protocol.
_WORDS: Mapping[Reason, re.Pattern[str]] = {
    "denied": re.compile(
        r"access ?denied|unauthori[sz]ed|forbidden|permission[ _]denied|not authori[sz]ed|\b40[13]\b",
        re.IGNORECASE,
    ),
    "throttled": re.compile(
        r"throttl|rate ?limit|too many requests|quota exceeded|\b429\b", re.IGNORECASE
    ),
}


@dataclass(frozen=True)
class Trouble:
    """Why cells failed. A table's own words in `tables`; those of nobody in particular in `common`."""

    tables: Mapping[str, str] = field(default_factory=dict)
    common: str = ""
    broken: SharderError | None = None  # the stream ended before its end


def ends(
    tree: Sequence[Table],
    selected: frozenset[str],
    client: str,
    trouble: Trouble,
    cursor: Mapping[str, str],
) -> Iterator[CellDone]:
    """One end for every selected table. `cursor`: the state that the plugin wrote.

    A state covers all rows of its tree: if one of its tables failed, none may pass what that one lacks.
    """
    for tables in trees(tree).values():
        chosen = [t for t in tables if t.name in selected]
        words = {t.name: _words(t.name, trouble) for t in chosen}
        failed = next((name for name, text in words.items() if text), "")
        holder = next((t.name for t in chosen if t.incremental), "")
        for table in chosen:
            text = words[table.name]
            if not text and failed and holder:
                text = f"{failed} failed, and the state of the plugin covers both"
            if text:
                yield CellDone(table.name, client, "failed", _reason(text, trouble), text)
            else:
                own = cursor if table.name == holder else {}
                yield CellDone(table.name, client, cursor=own)


def _words(table: str, trouble: Trouble) -> str:
    if table in trouble.tables:
        return trouble.tables[table]
    return str(trouble.broken) if trouble.broken else trouble.common


def _reason(text: str, trouble: Trouble) -> Reason:
    if trouble.broken and text == str(trouble.broken) and trouble.broken.reason != "failed":
        return trouble.broken.reason
    return next((reason for reason, words in _WORDS.items() if words.search(text)), "failed")
