"""`python -m tests.chaos [SEED …]`: storms over a real fleet, each reproducible by its seed as far as time allows."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.storm import Climate, Storm
from tests.fakes.servers import Postgres


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("seeds", nargs="*", type=int, default=[0, 1, 2, 3])
    parser.add_argument("--storm", type=float, default=60.0, help="seconds of trouble per seed")
    parser.add_argument("--trees", type=int, default=30, help="tables; each has ten shards")
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left running
    bad = 0
    for seed in words.seeds:
        climate = Climate(seed, trees=words.trees, storm_s=words.storm)
        with Postgres() as postgres, tempfile.TemporaryDirectory(prefix="sharder-chaos-") as home:
            log = Storm(Path(home), climate, postgres).blow()
        print(log.line(), flush=True)
        bad += bool(log.wrong)
    print(f"{len(words.seeds)} seeds, {bad} of them wrong")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
