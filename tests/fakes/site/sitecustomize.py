"""An installation that has more sources: `test/tree`, `test/ledger`, `test/leaky` and `test/hog` (tests/fakes)."""

import os

if os.environ.get("SKEW_HOURS"):  # first, so that everybody else sees no other clock
    from tests.fakes.skew import skew

    skew(float(os.environ["SKEW_HOURS"]))

from contracts import guard
from worker.sources.registry import ENTRIES, Entry

if isinstance(ENTRIES, dict):
    for _name in ("tree", "ledger", "leaky", "hog"):
        ENTRIES[_name] = Entry(f"tests.fakes.{_name}", f"tests.fakes.{_name}", {}, team="test")

# The registry of destinations imports Arrow, which no parent of a fleet may: only where it is asked for.
if os.environ.get("SHARDER_TEST_GREEDY"):
    from loader.warehouses.registry import _MODULES

    if isinstance(_MODULES, dict):
        _MODULES["greedy"] = "tests.fakes.greedy"

# A limit's grace is a minute; a test has not so long.
guard.GRACE_S = float(os.environ.get("SHARDER_TEST_GRACE_S", guard.GRACE_S))
