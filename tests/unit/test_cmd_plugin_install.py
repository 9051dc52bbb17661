"""`sharder plugin install` says of each plugin what it needs, and fetches what can be fetched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.fakes.command import Run, running
from tests.fakes.plugins.hub import Hub
from tests.fakes.specs import duckdb, fleet, source, spec


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("SHARDER_PLUGIN_CACHE", str(tmp_path / "cache"))
    return running(tmp_path, monkeypatch, capfd)


def asked(run: Run, path: str, registry: str, version: str = "", **settings: Any) -> Mapping[str, Any]:  # fmt: skip
    """What is said of one source of others, and the exit code."""
    document = source("x", {}, registry=registry, version=version)
    document["spec"]["path"] = path
    Path("spec.yml").write_text(spec(document, duckdb(), fleet(plugins={"x": settings})))
    code, out, _ = run("plugin", "install", "spec.yml", "--json")
    said, _ = map(orjson.loads, out.splitlines())
    assert said["usable"] is (code == 0)
    return {**said, "code": code}


def test_a_program_of_this_machine_is_looked_for(run: Run) -> None:
    said = asked(run, "sh -c 'exec my_plugin'", "local", runtime="python")
    assert said["code"] == 0
    assert said["note"].startswith("a program of this machine (python): /")
    missing = asked(run, "./no-such-plugin", "local")
    assert missing["code"] == 2
    assert "is not there" in missing["note"]


def test_a_plugin_that_is_served_elsewhere_needs_nothing(run: Run) -> None:
    assert "nothing to install" in asked(run, "localhost:7777", "grpc")["note"]


def test_an_image_needs_an_engine(run: Run, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    said = asked(run, "ghcr.io/acme/crm:v1", "docker")
    assert said["code"] == 2
    assert "needs docker or podman" in said["note"]
    engine = tmp_path / "bin" / "podman"
    engine.write_text("#!/bin/sh\n")
    engine.chmod(0o755)
    assert str(engine) in asked(run, "ghcr.io/acme/crm:v1", "docker")["note"]


def test_a_plugin_of_the_hub_is_fetched_into_the_cache(run: Run, tmp_path: Path, monkeypatch) -> None:  # fmt: skip
    with Hub() as hub:
        for name, value in hub.environment().items():
            monkeypatch.setenv(name, value)
        hub.publish("source", "crm", "v1.2.3", b"#!/bin/sh\n")
        said = asked(run, "acme/crm", "cloudquery", "v1.2.3")
        assert said["code"] == 0
        assert str(tmp_path / "cache") in said["note"]
        unknown = asked(run, "acme/crm", "cloudquery", "v9.9.9")
        assert unknown["code"] == 2
        assert "the latest one is v1.2.3" in unknown["note"]


def test_a_plugin_that_the_machine_does_not_run_is_not_fetched(run: Run, monkeypatch) -> None:
    monkeypatch.setenv("SHARDER_ALLOWED_PLUGINS", "cloudquery/*")
    for path, registry in (("sh", "local"), ("localhost:1", "grpc"), ("acme/crm", "github")):
        said = asked(run, path, registry, "v1.0.0")
        assert said["code"] == 2
        assert "SHARDER_ALLOWED_PLUGINS" in said["note"]
