"""Every benchmark runs, at a tiny scale; what it measures there means nothing and is not looked at."""

from __future__ import annotations

import pytest

from tests.bench.__main__ import NAMES, bench_of, main
from tests.bench.pairs import Figure, Ratio, compare
from tests.bench.scale import TINY

SERVERS = {
    "sql": ["postgres_dsn"],
    "postgres": ["postgres_dsn"],
    "feed": ["redis_url"],
    "shards": ["redis_url", "s3_url"],
    "memory": ["postgres_dsn"],
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # dlt's, where it is installed
@pytest.mark.parametrize("name", NAMES)
def test_the_benchmark_checks_its_contents_and_measures(name, request):
    for server in SERVERS.get(name, []):
        request.getfixturevalue(server)  # skipped, or failed in CI, where its program is missing
    results = list(bench_of(name)(TINY))
    assert results
    for result in results:
        assert result.verdict in {"met", "missed", "void"}
        assert result.line().count("|") == 8


def test_an_unknown_name_is_told_with_those_that_there_are(capsys):
    assert main(["nothing"]) == 2
    assert "dicts, sql" in capsys.readouterr().out


def test_a_run_whose_yardstick_differs_from_itself_is_void():
    assert Ratio("a", 2.0, 1.9, 2.1, 1.3, 0.8, "b").verdict == "void"
    assert Ratio("a", 2.0, 1.9, 2.1, 1.1, 0.8, "b").verdict == "met"
    assert Ratio("a", 0.5, 0.4, 0.6, 1.0, 0.8, "b").verdict == "missed"
    assert Figure("a", 3.0, "s", 2.0).verdict == "missed"


def test_order_alternates_and_the_preparation_is_not_measured():
    seen: list[str] = []
    ticks = iter(range(1000))
    found = compare(
        "a", lambda: seen.append("s"), lambda: seen.append("y"), against="b", aim=1.0, rounds=2,
        clock=lambda: float(next(ticks)), before=lambda: next(ticks),
    )  # fmt: skip
    assert seen == ["s", "y", "y", "s", "y", "y", "s", "y"]
    assert (found.ratio, found.control) == (1.0, 1.0)
