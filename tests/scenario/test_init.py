"""`sharder init` on a terminal: questions are answered, a spec is written, and it runs."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from tests.fakes.hackernews import FakeHackerNews, Forum

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0


class Terminal:
    """A program on a pseudo-terminal: wait for a text, type a line."""

    def __init__(self, process: subprocess.Popen[bytes], leader: int) -> None:
        self._process, self._leader = process, leader
        self.seen = ""

    def expect(self, text: str) -> None:
        """Read until the text has appeared behind what was expected before."""
        until = time.monotonic() + PATIENCE_S
        while text not in self.seen:
            ready, _, _ = select.select([self._leader], [], [], until - time.monotonic())
            more = self._read() if ready else b""
            assert more, f"{text!r} did not appear:\n{self.seen}"
            self.seen += more.decode(errors="replace")
        self.seen = self.seen.split(text, 1)[1]

    def _read(self) -> bytes:
        try:
            return os.read(self._leader, 4096)
        except OSError:  # the other end is closed
            return b""

    def type(self, line: str = "") -> None:
        os.write(self._leader, f"{line}\n".encode())

    def ends(self) -> int:
        while more := self._read():
            self.seen += more.decode(errors="replace")
        return self._process.wait(PATIENCE_S)


@contextmanager
def terminal(folder: Path, *words: str) -> Iterator[Terminal]:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from sharder.cli import main; main()", *words],
        cwd=folder, stdin=follower, stdout=follower, stderr=follower, close_fds=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb", "COLUMNS": "200"},
    )  # fmt: skip
    os.close(follower)
    try:
        yield Terminal(process, leader)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(leader)


def sharder(folder: Path, *words: str) -> str:
    """Run a command without a terminal; its stdout."""
    done = subprocess.run(
        [sys.executable, "-c", "from sharder.cli import main; main()", *words],
        cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def count(path: Path, table: str) -> int:
    with duckdb.connect(str(path), read_only=True) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row
    return int(row[0])


def test_a_spec_for_files_is_asked_for_and_runs(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("id,name\n1,Ada\n2,Grace\n")
    with terminal(tmp_path, "init") as screen:
        screen.expect("Which source?")
        screen.type("file")
        screen.expect("Which destination?")
        screen.type("duckdb")
        screen.expect("Which tables?")
        screen.type()
        screen.expect("File, directory or glob")
        screen.type("people.csv")
        screen.expect("Path of the database file")
        screen.type("out.duckdb")
        screen.expect("wrote file_to_duckdb.yml")
        assert screen.ends() == 0
        assert "sharder submit file_to_duckdb.yml" in screen.seen
    assert sharder(tmp_path, "validate-config", "file_to_duckdb.yml") == "valid\n"
    assert "2 rows" in sharder(tmp_path, "submit", "file_to_duckdb.yml")
    assert count(tmp_path / "out.duckdb", "people") == 2


def test_a_wrong_answer_is_asked_for_again_and_a_secret_is_not_taken(tmp_path: Path) -> None:
    with terminal(tmp_path, "init", "--source", "hackernews") as screen:
        screen.expect("Which destination?")
        screen.type("oracle")
        screen.expect("Error")
        screen.expect("Which destination?")
        screen.type("postgresql")
        screen.expect("Which tables?")
        screen.type()
        screen.expect("Variable with the URL")
        screen.type("postgresql://u:secretword@h/db")
        screen.expect("not the name of a variable")
        screen.expect("Variable with the URL")
        screen.type("MY_DATABASE")
        screen.expect("wrote hackernews_to_postgresql.yml")
        assert screen.ends() == 0
        assert "export MY_DATABASE=" in screen.seen
    text = (tmp_path / "hackernews_to_postgresql.yml").read_text()
    assert "connection_string: ${MY_DATABASE}" in text
    assert "secretword" not in text


def test_an_existing_file_is_overwritten_only_if_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "aws_to_duckdb.yml"
    path.write_text("mine")
    with terminal(tmp_path, "init", "--source", "aws", "--destination", "duckdb") as screen:
        screen.expect("Which tables?")
        screen.type()
        screen.expect("Path of the database file")
        screen.type()
        screen.expect("Overwrite it?")
        screen.type("n")
        assert screen.ends() == 2
    assert path.read_text() == "mine"


def test_a_spec_for_hackernews_runs_and_keeps_its_cursor(tmp_path: Path) -> None:
    sharder(tmp_path, "init", "--source", "hackernews", "--destination", "duckdb")
    path = tmp_path / "hackernews_to_duckdb.yml"
    with FakeHackerNews(Forum(300, int(time.time()))) as forum:
        text = path.read_text()
        (line,) = [row for row in text.splitlines() if "# base_url:" in row]
        path.write_text(text.replace(line, f"    base_url: {forum.url}"))
        sharder(tmp_path, "submit", path.name)
    assert count(tmp_path / "warehouse.duckdb", "hackernews_items") == 300 - 300 // 97
    assert count(tmp_path / "warehouse.duckdb", "cq_state_hackernews") == 1
