"""The pages of docs/how-to as somebody follows them: files are written, commands are run, in the page's order.

A `yaml` or `python` block that begins with `# NAME.yml` (or `.py`) is that file. An `sh` block is run in one directory per page,
unless the comment before it says why not: `<!-- not run: REASON -->`, or which exit code is meant.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts import specfile

pytestmark = pytest.mark.timeout(180)

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "how-to").glob("*.md"))
EXPLANATIONS = sorted((ROOT / "docs" / "explanation").glob("*.md"))
PROGRAMS = Path(sys.executable).parent
BLOCK = re.compile(
    r"^(?P<indent> *)(?:<!-- (?P<note>[^\n]*?) -->\n *)?```(?P<language>\w+)\n(?P<text>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)
ENVIRONMENT = {"PG_HOST": "db.example.com"}


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    note: str

    @property
    def file(self) -> str:
        """The file that the block is; empty if it is none."""
        name = re.match(r"# (\w+\.(?:yml|py))\n", self.text)
        return name[1] if name and self.language in {"yaml", "python"} else ""

    @property
    def reason(self) -> str:
        """Why it is not run."""
        return self.note.partition("not run: ")[2]

    @property
    def code(self) -> int:
        return int(self.note.partition("exit code: ")[2] or 0)


def blocks(page: Path) -> Iterator[Block]:
    for found in BLOCK.finditer(page.read_text()):
        lines = found["text"].splitlines(keepends=True)
        text = "".join(line.removeprefix(found["indent"]) for line in lines)
        yield Block(found["language"], text, found["note"] or "")


RUN = [p for p in PAGES if any(b.language == "sh" and not b.reason for b in blocks(p))]
each = pytest.mark.parametrize("page", RUN, ids=lambda p: p.stem)


def environment(home: Path) -> Mapping[str, str]:
    """As on a fresh machine: our programs first on the path, none of our variables."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SHARDER_", "AWS_"))}
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    return {**inherited, "PATH": path, "NO_COLOR": "1", "HOME": str(home)}


@each
def test_the_commands_of_the_page_work_in_its_order(page: Path, tmp_path: Path) -> None:
    for block in blocks(page):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
        if block.language != "sh" or block.reason:
            continue
        done = subprocess.run(
            ["bash", "-e", "-u", "-c", block.text],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == block.code, block.text + done.stdout + done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_spec_of_the_page_loads(page: Path, tmp_path: Path) -> None:
    (tmp_path / "pg_password.txt").write_text("p")
    for block in blocks(page):
        if block.file and block.text.count("kind: source"):
            file = tmp_path / block.file
            file.write_text(block.text.replace("${file:pg_password.txt}", "p"))
            loaded = specfile.load([file], ENVIRONMENT, datetime(2026, 1, 2, tzinfo=UTC))
            assert not loaded.warnings


@pytest.mark.parametrize("page", [*PAGES, *EXPLANATIONS], ids=lambda p: p.stem)
def test_the_places_that_the_page_names_exist(page: Path) -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", page.read_text()):
        assert (page.parent / link).exists(), link


def test_what_is_not_run_says_why() -> None:
    for page in PAGES:
        for block in blocks(page):
            assert not block.note or block.reason or block.code, f"{page.name}: {block.note}"


def test_every_page_is_listed() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    for page in (*PAGES, *EXPLANATIONS):
        assert f"({page.parent.name}/{page.name})" in index, page.name
