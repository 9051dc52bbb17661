"""The README's example, as it stands there, apart from where Hacker News is."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from tests.fakes.hackernews import FakeHackerNews, Forum

README = (Path(__file__).parents[2] / "README.md").read_text()
PROGRAMS = Path(sys.executable).parent


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_first_run_of_the_readme_works_and_its_second_fetches_nothing_twice(tmp_path):
    (spec,) = [b for b in blocks("yaml") if b.startswith("# hn.yml")]
    (commands,) = [b for b in blocks("sh") if "sharder plan hn.yml" in b]
    with FakeHackerNews(Forum(2_000, int(time.time()))) as forum:
        there = f"item_concurrency: 100\n    base_url: {forum.url}\n    start_time: 1 year ago"
        (tmp_path / "hn.yml").write_text(spec.replace("item_concurrency: 100", there))
        for line in [c for c in commands.splitlines() if "RUN" not in c] * 2:
            program, *words = line.split("#")[0].split()
            done = subprocess.run(
                [PROGRAMS / program, *words], cwd=tmp_path, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stdout + done.stderr
        expected = sum(forum.forum.exists(n) for n in range(1, 2_001))
    with duckdb.connect(str(tmp_path / "hn.duckdb")) as warehouse:
        assert warehouse.sql(
            "SELECT count(*), count(DISTINCT id) FROM hackernews_items"
        ).fetchall() == [(expected, expected)]


@pytest.mark.parametrize("target", re.findall(r"^make (\w+)", README, re.MULTILINE))
def test_the_targets_that_the_readme_names_exist(target):
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_the_places_that_the_readme_names_exist(link):
    assert (Path(__file__).parents[2] / link).exists()
