"""An installation that has two more sources: `test/tree` and `test/ledger` (tests/fakes)."""

from worker.sources.registry import ENTRIES, Entry

if isinstance(ENTRIES, dict):
    for _name in ("tree", "ledger"):
        ENTRIES[_name] = Entry(f"tests.fakes.{_name}", f"tests.fakes.{_name}", {}, team="test")
