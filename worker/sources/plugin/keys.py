"""Keys of the state that a plugin keeps: theirs while it runs for one client, ours in the state table.

A plugin that CloudQuery ran for all clients at once keeps one state for all of them. Split by client it
runs once for each, and a key that does not name the client would be set to as many values as there are
clients. Such a key is kept as `<client>/<key>`; before there is one, the plugin is given the common key,
so that a state which CloudQuery wrote is continued.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from contracts.layout import escape


def theirs(cursors: Mapping[str, str], client: str, *, split: bool) -> dict[str, str]:
    """What the plugin finds in its state table when it runs for this client."""
    if not split:
        return dict(cursors)
    prefix = _prefix(client)
    own = {k.removeprefix(prefix): v for k, v in cursors.items() if k.startswith(prefix)}
    return {**cursors, **own}


def ours(written: Mapping[str, str], client: str, *, split: bool) -> dict[str, str]:
    """What is kept of what the plugin wrote for this client."""
    if not split:
        return dict(written)
    names = re.compile(rf"(?<![0-9A-Za-z]){re.escape(client)}(?![0-9A-Za-z])")
    return {k if names.search(k) else _prefix(client) + k: v for k, v in written.items()}


def _prefix(client: str) -> str:
    return f"{escape(client)}/"  # without a separator in it, so that no two clients share a key
