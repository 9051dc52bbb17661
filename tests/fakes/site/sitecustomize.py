"""An installation that has one more source: `path: test/tree` (tests/fakes/tree.py)."""

from worker.sources.registry import ENTRIES, Entry

if isinstance(ENTRIES, dict):
    ENTRIES["tree"] = Entry("tests.fakes.tree", "tests.fakes.tree", {})
