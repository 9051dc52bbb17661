"""What a person types and gets back: help, exit codes, and a sentence for everything that is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import orjson
import pytest

from contracts.errors import Exit
from sharder.cli import main
from sharder.cli.reference import exit_codes, reference
from tests.fakes.servers import S3, Postgres, Redis, free_port

HERE = Path(__file__).parents[2]
SPEC = """kind: source
spec:
  name: hackernews
  path: cloudquery/hackernews
  tables: ["*"]
  destinations: [warehouse]
  spec: {item_concurrency: 100, base_url: http://127.0.0.1:1/v0}
---
kind: destination
spec:
  name: warehouse
  path: cloudquery/duckdb
  spec: {connection_string: ./w.duckdb}
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an empty directory with a spec.yml; exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    for name in ("SHARDER_STAGE", "SHARDER_BROKER", "SHARDER_WORKERS", "NOPE"):
        monkeypatch.delenv(name, raising=False)

    def command(*words: str, spec: str = SPEC) -> tuple[int, str, str]:
        (tmp_path / "spec.yml").write_text(spec)
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(words)
        out, err = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return command


def edited(old: str, new: str) -> str:
    assert old in SPEC
    return SPEC.replace(old, new)


WRONG_SPECS = {
    "unknown key": (
        edited("destinations:", "destinatons:"),
        ["spec.yml:6:3", "unknown key 'destinatons'", "did you mean 'destinations'?"],
    ),
    "unknown option of a source": (
        edited("item_concurrency", "item_concurency"),
        ["spec.yml:7", "did you mean 'item_concurrency'?"],
    ),
    "unknown option of a destination": (
        edited("connection_string", "conection_string"),
        ["spec.yml:13", "did you mean 'connection_string'?"],
    ),
    "unknown table": (
        edited('["*"]', "[hackernews_itms]"),
        ["spec.yml:5", "no table 'hackernews_itms'", "did you mean 'hackernews_items'?", "sharder tables"],
    ),
    "unknown source plugin": (
        edited("cloudquery/hackernews", "sharder/hackernew"),
        ["spec.yml:4", "no source plugin 'hackernew'", "did you mean 'hackernews'?"],
    ),
    "unknown destination plugin": (
        edited("cloudquery/duckdb", "cloudquery/ducdb"),
        ["spec.yml:12", "no destination plugin 'ducdb'", "did you mean 'duckdb'?"],
    ),
    "missing variable in a source": (
        edited("item_concurrency: 100", "item_concurrency: ${NOPE}"),
        ["spec.yml:7", "NOPE is not set", "export NOPE="],
    ),
    "missing variable in a destination": (
        edited("./w.duckdb", "${NOPE}"),
        ["spec.yml:13", "NOPE is not set", "export NOPE="],
    ),
    "not YAML": ("kind: [", ["spec.yml:1", "not YAML"]),
    "empty": ("", ["the spec is empty"]),
    "comments only": ("# nothing\n", ["the spec is empty"]),
    "no destination": (SPEC.split("---", maxsplit=1)[0], ["no destination", "kind: destination"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_SPECS)
def test_a_wrong_spec_is_exit_code_2_with_place_and_advice(
    run: Run, name: str, tmp_path: Path
) -> None:
    spec, fragments = WRONG_SPECS[name]
    code, out, err = run("submit", "spec.yml", spec=spec)
    assert code == Exit.INPUT
    assert out == ""
    for fragment in fragments:
        assert fragment in err
    assert "Traceback" not in err
    assert not list(tmp_path.glob(".sharder/stage/runs/*"))


WRONG_COMMANDS = {
    "no such file": (["submit", "nope.yml"], "there is no file nope.yml"),
    "no such source": (["submit", "spec.yml", "--source", "hackernew"], "did you mean 'hackernews'?"),
    "no such table": (["submit", "spec.yml", "--table", "hackernews_item"], "did you mean 'hackernews_items'?"),
    "no such client": (["submit", "spec.yml", "--client", "x"], "--client x matches nothing"),
    "no such store": (["submit", "spec.yml", "--stage", "ftp://x"], "s3://bucket/prefix"),
    "no such broker": (["submit", "spec.yml", "--broker", "amqp://x"], "redis://host:6379/0"),
    "no duration": (["submit", "spec.yml", "--deadline", "soon"], "20m"),
    "no run id": (["submit", "spec.yml", "--run-id", "a/b"], "not a run id"),
    "no workers": (["submit", "spec.yml", "--workers", "0"], "--workers"),
    "no such run": (["status", "x"], "there is no run 'x'"),
    "no run to resume": (["resume", "x"], "there is no run 'x'"),
    "no run to retry": (["retry", "x"], "there is no run 'x'"),
    "no run to cancel": (["cancel", "x"], "there is no run 'x'"),
    "watch embedded": (["watch"], "set --broker"),
    "detach embedded": (["submit", "spec.yml", "--detach"], "--detach needs a fleet"),
    "no such command": (["submti"], "submit"),
    "no spec": (["submit"], "SPEC"),
    "tables that need options": (["tables", "sql"], "name a spec"),
    "no such plugin": (["tables", "awz"], "there is no file awz"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_COMMANDS)
def test_a_wrong_command_line_is_exit_code_2_with_advice(run: Run, name: str) -> None:
    words, fragment = WRONG_COMMANDS[name]
    code, out, err = run(*words)
    assert (code, out) == (Exit.INPUT, "")
    assert fragment in err
    assert "Traceback" not in err


def test_a_number_of_workers_that_is_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARDER_WORKERS", "many")
    code, _, err = run("submit", "spec.yml")
    assert code == Exit.INPUT
    assert "SHARDER_WORKERS must be a number" in err


def test_errors_are_json_where_json_is_wanted(run: Run) -> None:
    code, out, err = run("submit", "spec.yml", "--json", spec=edited("tables:", "tabels:"))
    event = orjson.loads(err.splitlines()[-1])
    assert (code, out) == (Exit.INPUT, "")
    assert event["event"] == "error"
    assert event["exit_code"] == 2
    assert event["where"].endswith("spec.yml:5:3")


def outside(run: Run, *words: str, spec: str = SPEC) -> str:
    code, out, err = run("submit", "spec.yml", *words, spec=spec)
    assert (code, out) == (Exit.OUTSIDE, ""), err
    assert "Traceback" not in err
    return err


def test_a_broker_that_does_not_answer(run: Run) -> None:
    err = outside(run, "--broker", f"redis://127.0.0.1:{free_port()}/0")
    assert "does not answer" in err


def test_a_broker_that_refuses_the_password(run: Run) -> None:
    with Redis(password="right") as server:
        url = server.url.replace("right", "wrong")
        err = outside(run, "--broker", url)
    assert "refused the password" in err
    assert "wrong" not in err


def test_a_stage_that_cannot_be_written(run: Run) -> None:
    assert "/proc/nope" in outside(run, "--stage", "/proc/nope")


def test_a_full_disk(run: Run) -> None:
    """/dev/full is the kernel's own full disk; a stage there is no directory, which is told as well."""
    assert "/dev/full" in outside(run, "--stage", "/dev/full/stage")


@pytest.mark.s3
@pytest.mark.parametrize(("bucket", "fragment"), [("missing", "missing"), ("denied", "denied")])
def test_a_bucket_that_is_not_there_or_denied(run: Run, s3: S3, bucket: str, fragment: str) -> None:
    url = f"s3://{s3.create('denied')}/x" if bucket == "denied" else "s3://missing-bucket/x"
    assert fragment in outside(run, "--stage", url).lower()


@pytest.mark.s3
def test_a_stage_that_ignores_conditions(run: Run, s3: S3) -> None:
    err = outside(run, "--stage", f"s3://{s3.create('deaf')}/x")
    assert "create only" in err


def postgres_spec(dsn: str) -> str:
    return SPEC.replace("cloudquery/duckdb", "cloudquery/postgresql").replace("./w.duckdb", dsn)


def test_a_warehouse_that_does_not_answer(run: Run, tmp_path: Path) -> None:
    dsn = f"postgresql://u:secretword@127.0.0.1:{free_port()}/db"
    err = outside(run, spec=postgres_spec(dsn))
    assert "warehouse" in err
    assert "secretword" not in err
    assert not list(tmp_path.glob(".sharder/stage/runs/*"))


@pytest.mark.postgres
def test_a_warehouse_that_refuses_the_password(run: Run, postgres: Postgres) -> None:
    err = outside(run, spec=postgres_spec(postgres.dsn(password="wrongword")))
    assert "password" in err
    assert "wrongword" not in err


class Refusing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(403)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def refusing() -> Iterator[str]:
    """The address of an API that denies everything."""
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v0"
        server.shutdown()
        thread.join()


def test_a_source_that_refuses_us_loads_nothing_and_says_how_to_try_again(
    run: Run, refusing: str
) -> None:
    code, out, err = run("submit", "spec.yml", spec=edited("http://127.0.0.1:1/v0", refusing))
    assert code == Exit.OUTSIDE, err
    assert "1 cell failed: denied" in out
    assert "nothing was loaded; try again what failed with: sharder retry" in out
    assert "Traceback" not in err


def test_a_secret_written_out_is_refused_on_a_fleet_with_the_line_to_write(
    run: Run, redis_url: str
) -> None:
    code, _, err = run(
        "submit", "spec.yml", "--broker", redis_url, spec=postgres_spec("postgresql://u:secretword@h/db")
    )  # fmt: skip
    assert code == Exit.INPUT
    assert "write instead: connection_string: ${WAREHOUSE_CONNECTION_STRING}" in err
    assert "secretword" not in err


@pytest.mark.postgres
def test_a_secret_written_out_stays_off_the_stage_of_an_embedded_run(
    run: Run, refusing: str, postgres: Postgres, postgres_dsn: str, tmp_path: Path
) -> None:
    spec = postgres_spec(postgres_dsn).replace("http://127.0.0.1:1/v0", refusing)
    code, _, err = run("submit", "spec.yml", spec=spec)
    assert code == Exit.OUTSIDE, err
    files = [p for p in tmp_path.glob(".sharder/**/*") if p.is_file()]
    assert files
    assert not any(postgres.password.encode() in p.read_bytes() for p in files)


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nimport sharder.cli\n"
        "heavy = {'pyarrow', 'duckdb', 'pydantic', 'boto3', 'yaml', 'rich', 'celery', 'orjson'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=HERE, capture_output=True, text=True
    )
    assert (found.returncode, found.stderr) == (0, "")


def test_every_command_has_an_example_in_its_help(run: Run) -> None:
    from sharder.cli import sharder

    for name in sharder.commands:
        code, out, _ = run(name, "--help")
        assert code == 0
        assert f"sharder {name}" in out


def test_plan_changes_nothing(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("plan", "spec.yml")
    assert code == 0
    assert "hackernews_items" in out
    assert "transactional" in out
    assert [p.name for p in tmp_path.iterdir()] == ["spec.yml"]


def test_plan_as_json_is_a_line_per_table(run: Run) -> None:
    code, out, _ = run("plan", "spec.yml", "--json")
    (table,) = [orjson.loads(line) for line in out.splitlines()]
    assert code == 0
    assert (table["table"], table["cells"], table["shards"]) == ("hackernews_items", 1, 1)


def test_tables_of_a_source_by_its_name_and_by_a_spec(run: Run) -> None:
    _, by_name, _ = run("tables", "hackernews", "--json")
    _, by_spec, _ = run("tables", "spec.yml", "--json")
    assert by_name == by_spec
    assert orjson.loads(by_name)["name"] == "hackernews_items"
    _, out, _ = run("tables", "hackernews")
    assert "hackernews_items (incremental)" in out
    assert "primary key" in out


def test_runs_of_an_empty_stage(run: Run) -> None:
    code, out, err = run("runs")
    assert (code, out) == (0, "")
    assert "holds no run" in err


def test_the_version(run: Run) -> None:
    code, out, _ = run("version")
    assert code == 0
    assert out.startswith("sharder 0.")


@pytest.mark.parametrize(("page", "text"), [("cli.md", reference), ("exit-codes.md", exit_codes)])
def test_the_reference_pages_are_what_the_program_says(page: str, text: Callable[[], str]) -> None:
    path = HERE / "docs" / "reference" / page
    if os.environ.get("UPDATE_DOCS"):
        path.write_text(text())
    assert path.read_text() == text(), (
        "write them anew with: UPDATE_DOCS=1 pytest tests/unit/test_cli.py"
    )
