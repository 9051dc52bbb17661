"""`python -m tests.bench [--quick|--tiny] [names…]`: one table of what was measured, against what, and the aims."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module

from tests.bench.pairs import HEADER, Result
from tests.bench.scale import FULL, QUICK, TINY, Scale

NAMES = (
    "dicts",
    "sql",
    "duckdb",
    "postgres",
    "files",
    "plans",
    "feed",
    "shards",
    "plugins",
    "memory",
    "cli",
)


def bench_of(name: str) -> Callable[[Scale], Iterator[Result]]:
    module = {"sql": "sql_to_parquet", "duckdb": "to_duckdb", "postgres": "to_postgres"}.get(
        name, name
    )
    found: Callable[[Scale], Iterator[Result]] = import_module(f"tests.bench.{module}").bench
    return found


def main(arguments: list[str]) -> int:
    warnings.simplefilter("ignore")
    scales = {"--quick": QUICK, "--tiny": TINY}
    scale = next((scales[a] for a in arguments if a in scales), FULL)
    chosen = [a for a in arguments if a not in scales] or list(NAMES)
    if unknown := set(chosen) - set(NAMES):
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
        return 2
    print(HEADER, flush=True)
    verdicts: list[str] = []
    for name in chosen:
        for result in bench_of(name)(scale):
            print(result.line(), flush=True)
            verdicts.append(result.verdict)
    print(
        f"\n{verdicts.count('met')} met, {verdicts.count('missed')} missed, {verdicts.count('void')} void"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
