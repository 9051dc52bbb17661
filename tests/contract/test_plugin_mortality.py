"""A plugin ends with whoever started it, however that ends; nothing is left of it, running or on disk."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.errors import InputError, Permanent, SharderError, Transient
from contracts.memory import resident_bytes
from contracts.plugin import home
from contracts.plugin.ended import Died, Late, NotStarted
from contracts.plugin.kept import End, Job, Kept
from contracts.plugin.listening import answers
from contracts.plugin.plugin import Plugin, Surroundings
from contracts.plugin.profiles import Socket, arguments
from contracts.plugin.program import Process, running
from contracts.spec import PluginSettings
from tests.fakes.plugins.programs import little
from tests.fakes.servers import ROOT


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory of the test's own, which is empty at the end. `tmp_path` is elsewhere."""
    del tmp_path
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as path:
        monkeypatch.setattr(tempfile, "tempdir", path)
        monkeypatch.setenv("TMPDIR", path)
        yield Path(path)
        eventually(lambda: not list(Path(path).iterdir()), "something was left on the disk")


def eventually(is_so: Callable[[], bool], what: str, within_s: float = 30.0) -> None:
    end_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < end_s, what
        time.sleep(0.01)


def lives(pid: int) -> bool:
    """A zombie that nobody has taken in does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return False
    return state != b"Z"


def gone(*pids: int) -> Callable[[], bool]:
    return lambda: not any(map(lives, pids))


def started(*words: str, **settings: object):
    plugin = Plugin("source", "p", little(*words), "local", settings=PluginSettings(**settings))
    return running(plugin, Surroundings(dict(os.environ)))


def call(target: str) -> None:
    """Whatever connects is a call to the little program."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(target.removeprefix("unix:"))


def pids_of(file: Path) -> list[int]:
    return [int(n) for n in json.loads(file.read_text())]


class TestTheEndOfABlock:
    def test_the_program_and_its_children_end_and_nothing_is_on_disk(self, tmp_path, temporary):
        with started("child", f"pids={tmp_path / 'pids'}") as running_:
            pids = pids_of(tmp_path / "pids")
            assert len(pids) == 2
            assert all(map(lives, pids))
            assert pids[0] == running_.pid
            directory = next(temporary.iterdir())
            assert directory.stat().st_mode & 0o777 == 0o700
            assert running_.death() is None
        assert gone(*pids)()
        assert not list(temporary.iterdir())

    def test_an_exception_ends_it_as_well(self, tmp_path):
        with pytest.raises(ZeroDivisionError), started(f"pids={tmp_path / 'pids'}"):
            _ = 1 / 0
        assert gone(*pids_of(tmp_path / "pids"))()

    def test_a_program_that_ignores_sigint_is_killed_when_the_grace_is_over(self, tmp_path):
        directory = home.make()
        socket_ = home.socket(directory)
        words = (*shlex.split(little("stubborn", "child", f"pids={tmp_path / 'pids'}")),)
        line = arguments("python", Socket(socket_))
        job = Job((*words, *line), dict(os.environ), directory, tmp_path, grace_s=0.2)
        process = Kept(job)
        eventually(lambda: answers(Socket(socket_)), "it did not listen")
        begun_s = time.monotonic()
        process.stop()
        assert 0.2 <= time.monotonic() - begun_s < 5
        assert gone(*pids_of(tmp_path / "pids"))()
        assert process.end() == End(-signal.SIGKILL, "stopped")
        for stream in process.streams:
            stream.close()

    def test_its_thread_may_end_without_ending_it(self):
        """The kernel's PR_SET_PDEATHSIG means the thread: a program started by it alone would die here."""
        with contextmanager_in_a_thread(started()) as running_:
            call(running_.target)
            call(running_.target)
            assert running_.death(0.3) is None


@contextmanager
def contextmanager_in_a_thread(manager) -> Iterator[Process]:
    """Entered in a thread that is over before the block begins."""
    entered: list[Process] = []
    thread = threading.Thread(target=lambda: entered.append(manager.__enter__()))
    thread.start()
    thread.join()
    try:
        yield entered[0]
    finally:
        manager.__exit__(None, None, None)


class TestItsOwnDeath:
    @pytest.mark.parametrize(
        ("number", "reason", "told"),
        [(9, "memory", "out of memory or killed (SIGKILL)"), (11, "failed", "(SIGSEGV)")],
    )
    def test_it_is_told_with_what_was_said_last(self, number, reason, told):
        with started(f"dies={number}", "says=the last words") as running_:
            call(running_.target)
            death = running_.death(20)
            assert isinstance(death, Transient)
            assert death.reason == reason
            assert told in death.message
            assert "the last words" in death.message
            assert "the last words" in running_.log.last_lines()

    def test_children_that_it_leaves_behind_end_too(self, tmp_path):
        with started("dies=9", "child", f"pids={tmp_path / 'pids'}") as running_:
            call(running_.target)
            assert running_.death(20)
            assert gone(*pids_of(tmp_path / "pids"))()

    def test_more_memory_than_it_may_have_ends_it_with_the_reason(self):
        with started("memory=2000", memory="150MiB") as running_:
            call(running_.target)
            death = running_.death(60)
            assert isinstance(death, SharderError)
            assert death.reason == "memory"
            assert "may have 150 MiB" in death.message

    def test_without_a_limit_of_its_own_it_shares_that_of_the_worker(self):
        plugin = Plugin("source", "p", little("memory=2000"), "local")
        around = Surroundings(dict(os.environ), memory_bytes=resident_bytes() + (150 << 20))
        with running(plugin, around) as running_:
            call(running_.target)
            death = running_.death(60)
            assert death
            assert death.reason == "memory"


class TestTheStart:
    def test_a_program_that_ends_is_not_waited_for(self):
        begun_s = time.monotonic()
        with pytest.raises(NotStarted, match="exit code 3") as caught:
            started("quits=3", "says=no such option").__enter__()
        assert time.monotonic() - begun_s < 30
        assert "no such option" in caught.value.message
        assert isinstance(caught.value, Permanent)

    def test_a_program_that_never_listens_is_ended_at_the_time_limit(self, tmp_path):
        with pytest.raises(Late, match="did not listen within 1 s") as caught:
            started("deaf", "says=warming up", f"pids={tmp_path / 'pids'}", start_timeout=1).__enter__()  # fmt: skip
        assert "warming up" in caught.value.message
        assert gone(*pids_of(tmp_path / "pids"))()

    def test_a_start_that_is_not_needed_any_more_ends(self):
        around = Surroundings(dict(os.environ), cancelled=lambda: True)
        with pytest.raises(Died, match="not needed"):
            running(Plugin("source", "p", little("deaf"), "local"), around).__enter__()

    def test_a_file_that_the_system_does_not_execute_is_told(self, tmp_path):
        file = tmp_path / "plugin"
        file.write_bytes(b"\x7fELF, but not really")
        file.chmod(0o755)
        with pytest.raises(NotStarted, match="cannot be executed: Exec format error"):
            running(Plugin("source", "p", str(file), "local"), Surroundings({})).__enter__()

    def test_a_program_that_knows_ports_only_gets_one(self):
        with started(runtime="java") as running_:
            assert running_.target.startswith("127.0.0.1:")

    def test_secrets_of_the_worker_are_not_in_its_environment(self, tmp_path, monkeypatch):
        monkeypatch.setenv("SHARDER_BROKER", "redis://:secret@host")
        monkeypatch.setenv("PGPASSWORD", "secret")
        monkeypatch.setenv("__SOURCE_P__TOKEN", "mine")
        with started(f"environment={tmp_path / 'e'}") as running_:
            given = json.loads((tmp_path / "e").read_text())
            assert "secret" not in str(given)
            assert given["TOKEN"] == "mine"
            # Neither in what the kernel shows of the keeper.
            assert isinstance(running_, Process)
            shown = Path(f"/proc/{running_.keeper_pid}/environ").read_bytes()
            assert b"secret" not in shown

    def test_nothing_is_started_for_registry_grpc(self, temporary):
        with running(Plugin("source", "p", "localhost:7777", "grpc"), Surroundings({})) as running_:
            assert (running_.target, running_.pid) == ("localhost:7777", 0)
            assert running_.death() is None
            assert not list(temporary.iterdir())
        with pytest.raises(InputError, match="host:port"):
            running(Plugin("source", "p", "localhost", "grpc"), Surroundings({})).__enter__()


@contextmanager
def orphan_to_be(
    *words: str, forks: bool = False
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, int]]]:
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.plugins.parent", little(*words), str(int(forks))],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    facts: dict[str, int] = {}
    try:
        assert parent.stdout
        facts |= json.loads(parent.stdout.readline())
        yield parent, facts
    finally:
        if "child" in facts:
            os.kill(facts["child"], signal.SIGKILL)
        parent.kill()
        parent.wait()
        assert parent.stdout
        parent.stdout.close()


class TestTheDeathOfTheWorker:
    def test_a_killed_worker_takes_its_plugin_with_it(self, tmp_path, temporary):
        with orphan_to_be("child", f"pids={tmp_path / 'pids'}") as (parent, facts):
            pids = pids_of(tmp_path / "pids")
            parent.kill()
            parent.wait()
            eventually(gone(*pids, facts["keeper"]), "the plugin outlived the worker")
            assert not list(temporary.iterdir())

    def test_a_child_that_the_worker_forked_does_not_keep_the_plugin(self, tmp_path):
        """It holds our end of the keeper's connection, which therefore does not close."""
        with orphan_to_be(f"pids={tmp_path / 'pids'}", forks=True) as (parent, facts):
            parent.kill()
            parent.wait()
            assert lives(facts["child"])
            eventually(gone(*pids_of(tmp_path / "pids"), facts["keeper"]), "the plugin was kept")

    def test_a_killed_keeper_takes_the_plugin_with_it(self, tmp_path):
        with started(f"pids={tmp_path / 'pids'}") as running_:
            assert isinstance(running_, Process)
            os.kill(running_.keeper_pid, signal.SIGKILL)
            death = running_.death(20)
            assert death
            assert death.reason == "memory"
            eventually(gone(*pids_of(tmp_path / "pids")), "the plugin outlived its keeper")

    def test_what_both_leave_behind_is_removed_by_the_next_start(self, tmp_path, temporary):
        with orphan_to_be("child", f"pids={tmp_path / 'pids'}") as (parent, facts):
            plugin, child = pids_of(tmp_path / "pids")
            os.kill(facts["keeper"], signal.SIGSTOP)  # it cannot do its work any more
            parent.kill()
            parent.wait()
            os.kill(facts["keeper"], signal.SIGKILL)
            eventually(gone(plugin), "the plugin outlived its keeper")
            assert lives(child)
            assert list(temporary.iterdir())
            assert home.sweep() == 1
            eventually(gone(child), "the child of the plugin was left")
            assert not list(temporary.iterdir())

    def test_what_belongs_to_the_living_is_left_alone(self, tmp_path, temporary):
        with orphan_to_be(f"pids={tmp_path / 'pids'}"):
            assert home.sweep() == 0
            assert len(list(temporary.iterdir())) == 1
            assert lives(pids_of(tmp_path / "pids")[0])
