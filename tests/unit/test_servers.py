"""A server that a test needs and the machine has not: skipped on a laptop, told where `CI` is set."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import servers
from tests.fakes.servers import Azurite, ServerMissing, running


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine where Azurite cannot be installed; the only programs of its own are in `bin`."""
    place = tmp_path / "deploy/dev/azurite"
    place.mkdir(parents=True)
    real = servers.ROOT / "deploy/dev/azurite/package.json"
    (place / "package.json").write_text(real.read_text())
    (place / "install.sh").write_text("echo 'the registry does not answer' >&2; exit 1")
    (tmp_path / "bin").mkdir()
    for name in ("bash", "timeout", "node"):
        (tmp_path / "bin" / name).symlink_to(servers.binary("bash" if name == "node" else name))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(servers, "ROOT", tmp_path)
    monkeypatch.setattr(servers, "CACHE", tmp_path / "cache")
    return tmp_path / "bin"


def with_npm(programs: Path) -> None:
    (programs / "npm").write_text("")
    (programs / "npm").chmod(0o755)


def test_where_npm_could_have_installed_it_a_missing_azurite_fails_in_ci(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_npm(bare)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="the registry does not answer") as failed:
        next(running(Azurite))
    assert "make its registry reachable" in str(failed.value)


def test_a_machine_without_npm_goes_without_azurite_also_in_ci(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not (bare / "npm").exists()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.skip.Exception, match="azurite is not installed"):
        next(running(Azurite))


def test_on_a_laptop_what_is_missing_is_skipped(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_npm(bare)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="azurite"):
        next(running(Azurite))


def test_a_program_of_the_system_is_missed_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> servers.Redis:
        raise ServerMissing("redis-server is not installed")

    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="redis-server is not installed"):
        next(running(missing))
