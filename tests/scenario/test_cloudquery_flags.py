"""Whole runs with the flags that wrappers written for CloudQuery give."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
import orjson
import pytest

from contracts.errors import Exit
from sharder.cli import exits, main
from tests.fakes import contents

HERE = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(180)

SPEC = """kind: source
spec:
  name: files
  path: cloudquery/file
  version: v1.2.3
  tables: ["*"]
  destinations: [w]
  spec:
    tables:
      - {name: one, path: ./one.csv, primary_key: [id]}
      - {name: two, path: ./two.csv, primary_key: [id]}
---
kind: destination
spec:
  name: w
  path: cloudquery/duckdb
  version: v6.0.0
  spec: {connection_string: ./w.duckdb}
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command in a directory with a spec.yml and two files; exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.setenv("SHARDER_WORKERS", "1")
    for name in [n for n in os.environ if n.startswith("SHARDER_LOG")] + [exits.VARIABLE]:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "spec.yml").write_text(SPEC)
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text("id,v\n1,a\n2,b\n")

    def command(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(words)
        out, err = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        assert "Traceback" not in err
        return ended.value.code, out, err

    return command


def rows(place: Path) -> dict[str, int]:
    """The user's tables."""
    return {name: len(found) for name, found in contents.of_duckdb(place / "w.duckdb").items()}


def test_the_shards_of_one_invocation_load_everything_once_and_can_be_asked_again(
    run: Run, tmp_path: Path
) -> None:
    for n in (1, 2):
        code, out, err = run("sync", "spec.yml", "--shard", f"{n}/2", "--invocation-id", "nightly")
        assert code == 0, err
        assert f"run nightly-{n}-of-2: 1 table, 2 rows" in out
        assert f"shard {n}/2: 1 of 2 tables; tables are dealt whole" in err
    assert rows(tmp_path) == {"one": 2, "two": 2}
    code, again, _ = run("submit", "spec.yml", "--shard", "2/2", "--run-id", "nightly")
    assert (code, again) == (0, out)
    plan = tmp_path / ".sharder/stage/runs/nightly-2-of-2/plan/1/index.json"
    document = orjson.loads(plan.read_bytes())
    assert (document["sync_id"], document["part"]) == ("nightly", "2/2")


def test_a_surplus_shard_does_nothing_and_ends_well(run: Run, tmp_path: Path) -> None:
    code, out, err = run("submit", "spec.yml", "--shard", "3/3")
    assert code == 0, err
    assert "0 tables, 0 rows" in out
    assert rows(tmp_path) == {}


@pytest.mark.parametrize("part", ["1/2", "2/2"])
def test_tables_of_two_shards_that_would_get_one_name_are_refused_by_both(
    run: Run, tmp_path: Path, part: str
) -> None:
    spec = SPEC.replace("  version: v6.0.0\n", "  version: v6.0.0\n  transformers: [same]\n")
    spec += """---
kind: transformer
spec:
  name: same
  path: basic
  spec:
    transformations: [{kind: change_table_names, new_table_name_template: all}]
"""
    (tmp_path / "spec.yml").write_text(spec)
    code, _, err = run("submit", "spec.yml", "--shard", part, "--run-id", "x")
    assert (code, "would both be called 'all'" in err) == (2, True)


def test_an_invocation_id_that_is_there_already_says_so_and_that_the_spec_changed(
    run: Run, tmp_path: Path
) -> None:
    spec = SPEC.replace("./two.csv", "./two.csv?").replace("two.csv?", "${time:now|two.csv}")
    (tmp_path / "spec.yml").write_text(spec)
    assert run("submit", "spec.yml", "--run-id", "nightly")[0] == 0
    _, _, err = run("submit", "spec.yml", "--run-id", "nightly")
    assert "run nightly has ended before; nothing is run again" in err
    assert "changed" not in err
    (tmp_path / "spec.yml").write_text(spec.replace("./one.csv", "./other.csv"))
    code, _, err = run("submit", "spec.yml", "--run-id", "nightly")
    assert code == Exit.INPUT
    assert "was submitted with something else: source 'files' changed" in err


def test_one_client_does_not_replace_the_file_of_all(run: Run, tmp_path: Path) -> None:
    spec = SPEC.replace("cloudquery/duckdb\n  version: v6.0.0", "csv\n  write_mode: append")
    options = '{path: "out/{{TABLE}}.csv", no_rotate: true}'
    (tmp_path / "spec.yml").write_text(spec.replace("{connection_string: ./w.duckdb}", options))
    assert run("submit", "spec.yml")[0] == 0
    code, _, err = run("submit", "spec.yml", "--client", "*one.csv")
    assert (code, "the rows of all other clients would be gone" in err) == (2, True)
    assert len((tmp_path / "out/one.csv").read_text().splitlines()) == 3


def test_a_column_that_was_to_be_hidden_and_is_nowhere_is_told(run: Run, tmp_path: Path) -> None:
    spec = SPEC.replace("  version: v6.0.0\n", "  version: v6.0.0\n  transformers: [hide]\n")
    spec += """---
kind: transformer
spec:
  name: hide
  path: basic
  spec:
    transformations:
      - {kind: obfuscate_columns, columns: [v, pasword]}
      - {kind: remove_columns, tables: [onne], columns: [v]}
"""
    (tmp_path / "spec.yml").write_text(spec)
    code, _, err = run("submit", "spec.yml")
    assert code == 0
    assert "obfuscate_columns: no table of this run that it is for has a column 'pasword'" in err
    assert "remove_columns: `tables` has 'onne', which is no table of this run" in err
    assert "column 'v'" not in err


@pytest.mark.parametrize("run_id", ["0f8fad5b-d9cb-469f-a165-70867728950e", "Nightly_2026.01"])
def test_an_invocation_id_is_the_run_id(run: Run, run_id: str) -> None:
    code, out, err = run("--invocation-id", run_id, "submit", "spec.yml")
    assert code == 0, err
    assert f"run {run_id}: 2 tables" in out
    assert run("submit", "spec.yml", "--invocation-id", run_id)[:2] == (0, out)


def test_the_sync_group_has_the_invocation_id_and_not_the_shard(run: Run, tmp_path: Path) -> None:
    spec = SPEC.replace("version: v6.0.0", "write_mode: append\n  sync_group_id: 'g-{{SYNC_ID}}'")
    (tmp_path / "spec.yml").write_text(spec)
    for n in (1, 2):
        code, _, err = run("submit", "spec.yml", "--shard", f"{n}/2", "--invocation-id", "x")
        assert code == 0, err
    with duckdb.connect(str(tmp_path / "w.duckdb"), read_only=True) as warehouse:
        for table in ("one", "two"):
            groups = warehouse.sql(f"SELECT DISTINCT _cq_sync_group_id FROM {table}").fetchall()
            assert groups == [("g-x",)]


def test_no_migrate_makes_no_table_and_says_what_is_needed(run: Run, tmp_path: Path) -> None:
    code, out, err = run("submit", "spec.yml", "--no-migrate")
    assert code == Exit.OUTSIDE, err
    assert "table 'one' does not fit, and --no-migrate changes no table; needed: create" in out
    assert rows(tmp_path) == {}


def test_no_migrate_loads_what_fits_and_fails_what_does_not(run: Run, tmp_path: Path) -> None:
    assert run("submit", "spec.yml")[0] == 0
    assert run("submit", "spec.yml", "--no-migrate")[0] == 0
    (tmp_path / "one.csv").write_text("id,v,w\n1,a,1\n2,b,2\n3,c,3\n")
    (tmp_path / "two.csv").write_text("id,v\n1,a\n2,b\n3,c\n")
    code, out, _ = run("submit", "spec.yml", "--no-migrate")
    assert code == Exit.PARTIAL
    assert "needed: add column 'w' (BIGINT)" in out
    assert rows(tmp_path) == {"one": 2, "two": 3}


def test_a_retry_in_which_everything_fails_again_has_loaded_nothing(
    run: Run, tmp_path: Path
) -> None:
    assert run("submit", "spec.yml", "--shard", "1/2")[0] == 0
    assert run("submit", "spec.yml", "--no-migrate", "--run-id", "r")[0] == Exit.PARTIAL
    code, out, _ = run("retry", "r")
    assert code == Exit.OUTSIDE
    assert "needed: create the table" in out
    assert run("retry", "r", "--cloudquery-exit-codes")[0] == 1


def test_cloudquerys_exit_codes_on_the_command_line_and_in_the_environment(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("submit", "spec.yml")[0] == 0
    (tmp_path / "one.csv").write_text("id,v,w\n1,a,1\n")
    (tmp_path / "two.csv").write_text("id,v\n1,a\n")
    words = ("submit", "spec.yml", "--no-migrate", "--run-id", "r")
    assert run(*words)[0] == Exit.PARTIAL
    assert run(*words, "--cloudquery-exit-codes")[0] == 0
    assert run("submit", "nope.yml", "--cloudquery-exit-codes")[0] == 1
    assert run("submit", "spec.yml", "--shard", "9", "--cloudquery-exit-codes")[0] == 1
    monkeypatch.setenv(exits.VARIABLE, "1")
    assert run("--log-level", "info", "resume", "r")[0] == 0
    assert run("status", "nope")[0] == Exit.INPUT
    monkeypatch.setenv(exits.VARIABLE, "false")
    assert run("resume", "r")[0] == Exit.PARTIAL


@contextmanager
def secret(place: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> Iterator[None]:
    """A spec in which a child stumbles over a value that is a secret."""
    monkeypatch.setenv("HIDDEN", word)
    (place / "spec.yml").write_text(SPEC.replace("./two.csv", "./${HIDDEN}.csv"))
    (place / f"{word}.csv").write_text("id,v\n1,a\n")
    yield


def test_the_log_file_has_every_shard_and_load_with_its_run(run: Run, tmp_path: Path) -> None:
    code, _, _ = run("submit", "spec.yml", "--log-file-name", "x.log", "--run-id", "r")
    assert code == 0
    lines = (tmp_path / "x.log").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\S+Z INFO ", line) for line in lines)
    for event, count in (("shard_done", 2), ("loaded", 2), ("summary", 1)):
        found = [line for line in lines if f"event={event} " in line]
        assert len(found) == count
        assert all("run=r " in line for line in found)
    assert all(" shard=01-" in line for line in lines if "event=shard_done" in line)


@pytest.mark.parametrize("behind", [True, False])
def test_log_flags_stand_before_or_behind_the_command(
    run: Run, tmp_path: Path, behind: bool
) -> None:
    flags = ["--log-file-name=x.log", "--log-format", "json", "--log-level", "debug"]
    words = ["submit", "spec.yml", *flags] if behind else [*flags, "submit", "spec.yml"]
    assert run(*words)[0] == 0
    documents = [orjson.loads(line) for line in (tmp_path / "x.log").read_bytes().splitlines()]
    done = [d for d in documents if d.get("event") == "shard_done"]
    assert [(d["rows"], d["level"]) for d in done] == [(2, "info")] * 2
    assert not [name for name in os.environ if name.startswith("SHARDER_LOG")]


def test_no_file_is_written_that_nobody_asked_for(run: Run, tmp_path: Path) -> None:
    assert run("submit", "spec.yml")[0] == 0
    assert run("submit", "spec.yml", "--log-file-name", "x.log", "--no-log-file")[0] == 0
    assert not list(tmp_path.glob("*.log"))


def test_a_log_file_is_appended_to_or_emptied(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text("before\n")
    run("submit", "spec.yml", "--log-file-name", "x.log", "--run-id", "one")
    run("resume", "one", "--log-file-name", "x.log")
    assert (tmp_path / "x.log").read_text().startswith("before\n")
    run("resume", "one", "--log-file-name", "x.log", "--log-file-overwrite")
    assert len((tmp_path / "x.log").read_text().splitlines()) == 1


def test_the_level_is_the_least_that_is_logged(run: Run, tmp_path: Path) -> None:
    run("submit", "spec.yml", "--log-file-name", "x.log", "--log-level", "warn")
    assert (tmp_path / "x.log").read_text() == ""


def test_the_console_has_log_lines_and_the_answer_stays_on_stdout(run: Run) -> None:
    code, out, err = run("submit", "spec.yml", "--log-console", "--run-id", "r")
    assert code == 0
    assert out.splitlines()[-1].startswith("run r: 2 tables, 4 rows")
    assert err
    assert all(re.match(r"\S+Z INFO ", line) for line in err.splitlines())


def test_secrets_stay_out_of_the_log_even_in_traces(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with secret(tmp_path, monkeypatch, "hunter2hunter2"):
        code, _, err = run("submit", "spec.yml", "--log-file-name", "x.log", "--log-level", "debug")
    assert code == 0, err
    assert "hunter2hunter2" not in (tmp_path / "x.log").read_text()


STATE_APART = """kind: source
spec:
  name: shop
  path: sql
  tables: [orders]
  destinations: [rows]
  backend_options: {table_name: cq_state, connection: "@@plugins.state.connection"}
  spec:
    connection_string: sqlite:///shop.db
    cursor_columns: {orders: id}
---
kind: destination
spec:
  name: rows
  path: duckdb
  write_mode: append
  spec: {connection_string: ./w.duckdb}
---
kind: destination
spec:
  name: state
  path: PATH
  write_mode: append
  spec: OPTIONS
"""


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("duckdb", "{connection_string: ./state.duckdb}"),
        ("csv", '{path: "state/{{TABLE}}.csv", no_rotate: true}'),
    ],
)
def test_cursors_live_in_a_destination_that_gets_no_rows(
    run: Run, tmp_path: Path, path: str, options: str
) -> None:
    spec = STATE_APART.replace("PATH", path).replace("OPTIONS", options)
    (tmp_path / "spec.yml").write_text(spec)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop:
        shop.execute("CREATE TABLE orders (id integer PRIMARY KEY, what text)")
        for n in range(1, 4):
            shop.execute("INSERT INTO orders VALUES (?, 'x')", (n,))
            shop.commit()
            assert run("submit", "spec.yml")[0] == 0
    with duckdb.connect(str(tmp_path / "w.duckdb"), read_only=True) as found:
        read = found.sql("SELECT id, count(*) FROM orders GROUP BY id ORDER BY id").fetchall()
    # The newest row is read again by the run after it: a transaction may have been late.
    assert read == [(1, 2), (2, 2), (3, 1)]
    if path == "duckdb":
        with duckdb.connect(str(tmp_path / "state.duckdb"), read_only=True) as kept:
            tables = {
                name for (name,) in kept.sql("SELECT table_name FROM duckdb_tables()").fetchall()
            }
            assert "orders" not in tables
            assert kept.sql("SELECT count(*) FROM cq_state").fetchall() == [(1,)]
