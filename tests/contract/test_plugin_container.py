"""Plugins that are images: what docker is told, and what becomes of the container. A fake docker runs them."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import Denied, InputError, NotFound, Permanent, Unreachable
from contracts.plugin import docker
from contracts.plugin.docker import Engine, Image
from contracts.plugin.ended import NotStarted
from contracts.plugin.plugin import Plugin, Surroundings
from contracts.plugin.program import running
from contracts.spec import PluginSettings
from tests.fakes.plugins.programs import as_a_file
from tests.fakes.servers import ROOT

NAME = "ghcr.io/acme/crm:v1"
LITTLE = str(ROOT / "tests/fakes/plugins/little.py")


class Docker:
    """A directory with the program `docker`, and what it has been told."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "bin").mkdir()
        program = home / "bin" / "docker"
        program.write_bytes(as_a_file("engine"))
        program.chmod(0o755)
        (home / "registry").write_text(NAME)

    def environment(self, **more: str) -> dict[str, str]:
        found = {
            "PATH": str(self.home / "bin"),
            "HOME": str(self.home),
            "DOCKER_FAKE": str(self.home),
        }
        return found | {"DOCKER_FAKE_PROGRAM": LITTLE} | more

    def calls(self, *first: str) -> list[dict[str, Any]]:
        lines = (self.home / "calls").read_text().splitlines()
        found = [json.loads(line) for line in lines]
        return [c for c in found if tuple(c["words"][: len(first)]) == first]

    def removed(self) -> list[str]:
        file = self.home / "removed"
        return file.read_text().split() if file.exists() else []

    def says(self, name: str, text: str) -> None:
        (self.home / name).write_text(text)


@pytest.fixture
def engine(tmp_path: Path) -> Docker:
    return Docker(tmp_path)


def started(engine: Docker, token: str = "", settings: PluginSettings | None = None, **more: str):
    plugin = Plugin(
        "source", "crm", NAME, "docker", docker_token=token, settings=settings or PluginSettings()
    )
    return running(plugin, Surroundings(engine.environment(**more)))


class TestTheCommandLine:
    def line(self, engine: str = "/usr/bin/docker", **more: Any) -> tuple[str, ...]:
        return Engine(engine).run(Image(NAME), "c-1", ["B", "A"], **more)

    def test_the_container_is_removed_at_its_end_and_its_port_is_for_this_machine(self):
        assert self.line() == (
            "/usr/bin/docker", "run", "--rm", "--name", "c-1", "--publish", "127.0.0.1::7777/tcp",
            "--add-host", "host.docker.internal:host-gateway", "--env", "A", "--env", "B",
            "--env", "PYTHONUNBUFFERED=1", NAME, "serve", "--log-level", "info", "--log-format", "json",
            "--network", "tcp", "--address", "0.0.0.0:7777",
        )  # fmt: skip

    def test_only_a_plugin_that_is_known_to_be_go_gets_the_options_of_go(self):
        assert "--no-sentry" not in self.line()
        assert self.line(runtime="go")[-1] == "--no-sentry"

    def test_a_limit_of_memory_is_the_containers(self):
        line = self.line(memory=5 << 20)
        assert line[line.index("--memory") + 1] == str(5 << 20)

    def test_podman_knows_this_machine_by_another_name(self):
        assert "--add-host" not in self.line("/usr/bin/podman")
        assert Engine("/usr/bin/podman").host_alias == "host.containers.internal"
        assert Engine("/usr/bin/docker").host_alias == "host.docker.internal"

    def test_an_engine_elsewhere_gives_its_port_to_us(self):
        assert "7777/tcp" in self.line(local=False)
        assert docker.host({"DOCKER_HOST": "tcp://build:2375"}) == "build"
        assert docker.host({"DOCKER_HOST": "unix:///run/docker.sock"}) == ""
        assert docker.host({}) == ""

    @pytest.mark.parametrize(
        ("name", "registry"),
        [
            ("acme/crm:v1", "https://index.docker.io/v1/"),
            ("ghcr.io/acme/crm", "ghcr.io"),
            ("localhost/crm", "localhost"),
            ("host:5000/crm", "host:5000"),
        ],
    )
    def test_credentials_are_for_the_registry_of_the_image(self, name, registry):
        assert Image(name).registry == registry
        found = json.loads(docker.configuration(Image(name, "u", "p")))
        assert found["auths"][registry] == {"auth": base64.b64encode(b"u:p").decode()}

    def test_the_users_own_configuration_stays(self):
        existing = '{"credsStore": "desktop", "auths": {"a": {"auth": "x"}}, "HttpHeaders": {"A": "1"}, "proxies": {}}'
        found = json.loads(docker.configuration(Image(NAME, "u", "p", {"X-Meta": "v"}), existing))
        assert found["auths"]["a"] == {"auth": "x"}
        assert "credsStore" not in found
        assert found["HttpHeaders"] == {"A": "1", "X-Meta": "v"}
        assert found["proxies"] == {}

    @pytest.mark.parametrize(
        ("said", "kind"),
        [
            ("Error response from daemon: Head …: unauthorized", Denied),
            ("Error response from daemon: manifest unknown", NotFound),
            ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", Unreachable),
            ("no space left on device", Permanent),
            ("", Permanent),
        ],
    )
    def test_what_the_engine_complains_of_is_understood(self, said, kind):
        assert type(docker.refusal(said, "source 'crm'")) is kind

    def test_a_container_is_named_after_its_plugin(self):
        first, second = (
            docker.container(Plugin("source", "my crm!", NAME, "docker")) for _ in "12"
        )
        assert first.startswith("sharder-my-crm--")
        assert first != second


class TestAContainer:
    def test_it_is_pulled_run_reached_through_its_port_and_removed(self, engine):
        with started(engine) as program:
            assert program.target.startswith("127.0.0.1:")
            assert program.host_alias == "host.docker.internal"
            assert program.death() is None
            (run,) = engine.calls("run")
            name = run["words"][run["words"].index("--name") + 1]
            assert len(engine.calls("pull")) == 1
        assert engine.removed() == [name]
        with started(engine):
            assert len(engine.calls("pull")) == 1

    def test_it_gets_its_variables_and_none_of_ours(self, engine, tmp_path):
        engine.says("little", f"environment={tmp_path / 'e'}")
        more = {"AWS_PROFILE": "p", "SHARDER_BROKER": "redis://secret", "__SOURCE_CRM__TOKEN": "t"}
        with started(engine, **more):
            given = json.loads((tmp_path / "e").read_text())
        assert {"AWS_PROFILE", "TOKEN"} <= set(given)
        assert not {"PATH", "HOME", "SHARDER_BROKER", "DOCKER_FAKE"} & set(given)
        (run,) = engine.calls("run")
        assert "t" not in run["words"]  # values are in no command line

    def test_credentials_reach_the_engine_in_a_file_that_is_gone_afterwards(self, engine):
        token = base64.b64encode(b'{"username": "u", "password": "s3cret"}').decode()
        with started(engine, token):
            (pull,) = engine.calls("pull")
        assert "auths" in pull["config"]
        for call in engine.calls():
            assert "s3cret" not in str(call["words"])
        assert list(engine.home.glob("**/config.json")) == []

    @pytest.mark.parametrize("token", ["no base64 §", base64.b64encode(b"[]").decode()])
    def test_a_token_that_is_none_is_told_without_it(self, engine, token):
        with pytest.raises(InputError, match="docker_registry_auth_token") as caught:
            started(engine, token).__enter__()
        assert token not in str(caught.value)

    def test_an_image_that_is_nowhere_is_told(self, engine):
        engine.says("registry", "Error response from daemon: pull access denied: unauthorized")
        with pytest.raises(Denied, match="refuses us"):
            started(engine).__enter__()
        assert engine.calls("run") == []

    def test_a_container_that_ends_is_told_and_removed(self, engine):
        engine.says("little", "quits=125 says=no-such-network")
        with pytest.raises(NotStarted, match="exit code 125") as caught:
            started(engine).__enter__()
        assert "no-such-network" in caught.value.message
        assert len(engine.removed()) == 1

    def test_one_that_is_out_of_memory_has_137_for_its_code(self, engine):
        engine.says("little", "quits=137")
        with pytest.raises(Exception, match="out of memory") as caught:
            started(engine).__enter__()
        assert caught.value.reason == "memory"  # type: ignore[attr-defined]

    def test_without_an_engine_it_is_said_what_to_do(self, tmp_path):
        plugin = Plugin("source", "crm", NAME, "docker")
        with pytest.raises(InputError, match="needs docker or podman") as caught:
            running(plugin, Surroundings({"PATH": str(tmp_path)})).__enter__()
        assert "registry: grpc" in caught.value.hint

    def test_a_killed_worker_has_its_container_removed(self, engine):
        script = (
            "import os, threading\n"
            "from contracts.plugin.plugin import Plugin, Surroundings\n"
            "from contracts.plugin.program import running\n"
            f"with running(Plugin('source', 'crm', {NAME!r}, 'docker'), Surroundings(dict(os.environ))):\n"
            "    print('up', flush=True); threading.Event().wait()\n"
        )
        parent = subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, **engine.environment()},
            stdout=subprocess.PIPE,
        )
        assert parent.stdout
        with parent.stdout as out:
            assert out.readline() == b"up\n"
            parent.kill()
            parent.wait()
        end_s = time.monotonic() + 30
        while not engine.removed():
            assert time.monotonic() < end_s, "the container outlived the worker"
            time.sleep(0.02)
