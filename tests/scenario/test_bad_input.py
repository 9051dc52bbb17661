"""Bad input and a bad world: exit code 2 or 4 (5 for a lease), a sentence that helps, and no trace.

Each case is a command as a person types it, in a process of its own. `says` must all be there, `never`
must not; what was wrong with the text (2) is told before anything is written.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from contracts.errors import Exit
from tests.fakes import specs
from tests.fakes.fleet import Fleet, until
from tests.fakes.servers import S3, Postgres, Redis, free_port, running

pytestmark = pytest.mark.timeout(120)

FILES = specs.source("files", {"path": "./people.csv", "primary_key": ["id"]}, plugin="file")
GOOD = specs.spec(FILES, specs.duckdb())


@dataclass(frozen=True)
class Case:
    code: Exit
    says: Sequence[str]
    spec: str = GOOD
    words: Sequence[str] = ("submit", "spec.yml")
    environment: Mapping[str, str] = field(default_factory=dict)
    never: Sequence[str] = ()


def edited(old: str, new: str, text: str = GOOD) -> str:
    assert old in text
    return text.replace(old, new, 1)


@pytest.fixture
def check(embedded: Fleet) -> Callable[[Case], str]:
    """Run a case; what it said."""

    def check(case: Case) -> str:
        (embedded.home / "people.csv").write_text("id,name\n1,ann\n2,bob\n")
        (embedded.home / "spec.yml").write_text(case.spec)
        done = embedded.run(*case.words, **case.environment)
        assert done.code == case.code, done.said
        assert "Traceback" not in done.said
        for text in case.says:
            assert text in done.said
        for text in case.never:
            assert text not in done.said
        if case.code == Exit.INPUT:
            assert done.out == ""
            assert not list(embedded.home.glob(".sharder/stage/runs/*"))
        return done.said

    return check


TEXT = {
    "an unknown key": Case(
        Exit.INPUT,
        ["spec.yml:7:3", "unknown key 'destinatons'", "did you mean 'destinations'?"],
        edited("destinations:", "destinatons:"),
    ),
    "an unknown kind": Case(
        Exit.INPUT, ["spec.yml:1", "sauce", "source"], edited("kind: source", "kind: sauce")
    ),
    "an unknown table": Case(
        Exit.INPUT,
        ["spec.yml:6", "no table 'peple'", "did you mean 'people'?", "sharder tables"],
        edited("'*'", "peple"),
    ),
    "a misspelt option of a source": Case(
        Exit.INPUT,
        ["spec.yml:11:5", "primary_kex", "did you mean 'primary_key'?"],
        edited("primary_key:", "primary_kex:"),
    ),
    "a misspelt option of a destination": Case(
        Exit.INPUT,
        ["spec.yml:19:5", "conection_string", "did you mean 'connection_string'?"],
        edited("connection_string:", "conection_string:"),
    ),
    "an option of the wrong type": Case(
        Exit.INPUT, ["spec.yml:10:11", "path"], edited("./people.csv", "[1]")
    ),
    "an unknown source": Case(
        Exit.INPUT,
        ["spec.yml:4", "no source plugin 'fille'", "did you mean 'file'?"],
        edited("cloudquery/file", "cloudquery/fille"),
    ),
    "an unknown destination plugin": Case(
        Exit.INPUT,
        ["spec.yml:17", "no destination plugin 'ducdb'", "did you mean 'duckdb'?"],
        edited("cloudquery/duckdb", "cloudquery/ducdb"),
    ),
    "a destination that the spec does not have": Case(
        Exit.INPUT, ["spec.yml:8", "unknown destination 'v'", "kind: destination"], edited("- w", "- v")
    ),
    "a missing variable in a source": Case(
        Exit.INPUT,
        ["spec.yml:10", "NOPE is not set", "export NOPE="],
        edited("./people.csv", "${NOPE}"),
    ),
    "a missing variable in a destination": Case(
        Exit.INPUT,
        ["spec.yml:19", "NOPE is not set", "export NOPE="],
        edited("./w.duckdb", "${NOPE}"),
    ),
    "a variable whose file is missing": Case(
        Exit.INPUT, ["spec.yml:10", "no file 'nope.txt'"], edited("./people.csv", "${file:nope.txt}")
    ),
    "a spec that is not YAML": Case(Exit.INPUT, ["spec.yml:2", "not YAML"], "kind: source\nspec: ["),
    "a spec that is binary": Case(Exit.INPUT, ["spec.yml"], "\x00\x01\x02"),
    "an empty spec": Case(Exit.INPUT, ["the spec is empty", "write at least one source"], ""),
    "a spec of comments": Case(Exit.INPUT, ["the spec is empty", "write at least one source"], "# nothing yet\n---\n"),
    "a spec that is not there": Case(
        Exit.INPUT, ["there is no file nope.yml"], words=["submit", "nope.yml"]
    ),
    "a table flag that matches nothing": Case(
        Exit.INPUT, ["did you mean 'people'?"], words=["submit", "spec.yml", "--table", "peple"]
    ),
    "a status of an unknown run": Case(
        Exit.INPUT, ["no run 'x'", "is it the right stage?"], words=["status", "x"]
    ),
    "a resume of an unknown run": Case(Exit.INPUT, ["no run 'x'"], words=["resume", "x"]),
    "a retry of an unknown run": Case(Exit.INPUT, ["no run 'x'"], words=["retry", "x"]),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXT)
def test_wrong_text(check: Callable[[Case], str], name: str) -> None:
    check(TEXT[name])


def bucket(s3: S3, kind: str, says: str) -> Case:
    place = f"s3://{s3.create(kind)}/x" if kind != "missing" else "s3://nowhere-at-all/x"
    words = ("submit", "spec.yml", "--stage", place)
    return Case(
        Exit.OUTSIDE, [place.split("/")[2], says], words=words, environment=s3.environment()
    )


@pytest.mark.s3
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "does not exist"),
        ("denied", "denied"),
        ("deaf", "ignores 'create only' conditions"),
    ],
)
def test_a_bucket_that_is_missing_denied_or_ignores_conditions(
    check: Callable[[Case], str], s3: S3, kind: str, says: str
) -> None:
    check(bucket(s3, kind, says))


@pytest.mark.slow
def test_an_object_store_that_does_not_answer(check: Callable[[Case], str]) -> None:
    environment = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "hush-hush",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}",
    }
    words = ("submit", "spec.yml", "--stage", "s3://lake/elt")
    check(
        Case(
            Exit.OUTSIDE,
            ["'lake' does not answer", "AWS_ENDPOINT_URL"],
            words=words,
            environment=environment,
            never=["hush-hush"],
        )
    )


def test_a_broker_that_does_not_answer(check: Callable[[Case], str]) -> None:
    port = free_port()
    words = ("submit", "spec.yml", "--broker", f"redis://me:hush-hush@127.0.0.1:{port}/0")
    check(
        Case(
            Exit.OUTSIDE, [f"127.0.0.1:{port}", "does not answer"], words=words, never=["hush-hush"]
        )
    )


@pytest.mark.redis
def test_a_broker_that_refuses_the_password(check: Callable[[Case], str]) -> None:
    for server in running(lambda: Redis(password="right")):
        words = ("submit", "spec.yml", "--broker", server.url.replace("right", "hush-hush"))
        check(Case(Exit.OUTSIDE, ["refused the password"], words=words, never=["hush-hush"]))


def test_a_warehouse_that_does_not_answer(check: Callable[[Case], str]) -> None:
    port = free_port()
    spec = specs.spec(FILES, specs.postgresql(f"postgresql://u:hush-hush@127.0.0.1:{port}/db"))
    check(Case(Exit.OUTSIDE, ["destination 'w'", f"{port}"], spec, never=["hush-hush"]))


@pytest.mark.postgres
def test_a_warehouse_that_refuses_the_password(
    check: Callable[[Case], str], postgres: Postgres
) -> None:
    dsn = postgres.dsn(password="hush-hush")
    spec = specs.spec(FILES, specs.postgresql(dsn))
    check(Case(Exit.OUTSIDE, ["destination 'w'", "password"], spec, never=["hush-hush"]))


@pytest.mark.postgres
def test_a_database_that_is_not_there(check: Callable[[Case], str], postgres: Postgres) -> None:
    spec = specs.spec(FILES, specs.postgresql(postgres.dsn("nope")))
    check(Case(Exit.OUTSIDE, ["destination 'w'", "nope"], spec, never=[postgres.password]))


@pytest.mark.redis
def test_a_secret_written_out_on_a_fleet(check: Callable[[Case], str], redis_url: str) -> None:
    spec = specs.spec(FILES, specs.postgresql("postgresql://u:hush-hush@h/db"))
    words = ("submit", "spec.yml", "--broker", redis_url)
    says = ["spec.yml:19", "write instead: connection_string: ${W_CONNECTION_STRING}"]
    check(Case(Exit.INPUT, says, spec, words, never=["hush-hush"]))


def test_a_source_whose_files_are_not_there(check: Callable[[Case], str]) -> None:
    check(Case(Exit.OUTSIDE, ["nobody.csv"], edited("people.csv", "nobody.csv")))


def test_a_stage_that_cannot_be_written(check: Callable[[Case], str]) -> None:
    check(Case(Exit.OUTSIDE, ["/proc/nope"], words=("submit", "spec.yml", "--stage", "/proc/nope")))


def test_a_lease_that_another_run_holds(embedded: Fleet, check: Callable[[Case], str]) -> None:
    gate = embedded.home / "gate"
    gate.mkdir()
    spec = specs.spec(specs.tree(gate=str(gate)), specs.duckdb())
    (embedded.home / "spec.yml").write_text(spec)
    first = embedded.start("sharder", "submit", "spec.yml", "--run-id", "first")
    until(lambda: list(gate.iterdir()))
    says = ["run first is syncing source 'trees' into 'w'", "sharder cancel first"]
    check(Case(Exit.LEASE, says, spec))
    # A run whose submitter is killed holds no lease.
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    (gate / "open").touch()
    check(Case(Exit.OK, ["run first of trees was left open"], spec))


MEGABYTE = 1 << 20


@pytest.fixture
def small_disk(embedded: Fleet) -> Fleet:
    """Commands for which the directory `disk` is a disk of one megabyte."""
    (embedded.home / "disk").mkdir()
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    inside = ["unshare", *rights, "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size={MEGABYTE} tmpfs disk && "
    if not shutil.which("unshare") or subprocess.run(
        [*inside, f"{mount} true"], cwd=embedded.home, capture_output=True
    ).returncode:  # fmt: skip
        pytest.skip("needs the right to mount a small file system in a namespace of its own")
    noise = random.Random(0)
    lines = (f"{n},{noise.randbytes(500).hex()}\n" for n in range(6000))
    (embedded.home / "people.csv").write_text("id,name\n" + "".join(lines))
    embedded.within = [*inside, mount + 'exec "$0" "$@"']
    return embedded


@pytest.mark.parametrize("place", ["the stage", "DuckDB"])
def test_a_full_disk(small_disk: Fleet, place: str) -> None:
    stage, database = (
        ("disk/stage", "w.duckdb") if place == "the stage" else ("stage", "disk/w.duckdb")
    )
    spec = specs.spec(FILES, specs.duckdb(database))
    (small_disk.home / "spec.yml").write_text(spec)
    done = small_disk.run("submit", "spec.yml", "--stage", stage)
    assert done.code == Exit.OUTSIDE, done.said
    assert "Traceback" not in done.said
    assert "no space left on device" in done.out.lower()
    assert "nothing was loaded; try again" in done.out
