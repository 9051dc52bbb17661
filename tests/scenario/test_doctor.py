"""`sharder doctor` on a fleet: the loader is asked for the warehouse, whose credentials nobody else has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from contracts.errors import Exit
from tests.fakes import specs
from tests.fakes.fleet import Fleet, kill

pytestmark = [pytest.mark.redis, pytest.mark.postgres, pytest.mark.timeout(120)]


@dataclass(frozen=True)
class Line:
    level: str
    says: str
    mend: str


class Clinic:
    """A fleet whose submitter knows the variable of the warehouse by its name only."""

    def __init__(self, fleet: Fleet, dsn: str) -> None:
        self.fleet, self.dsn = fleet, dsn
        files = specs.source("files", {"path": "./a.csv"}, plugin="file")
        (fleet.home / "a.csv").write_text("id\n1\n")
        (fleet.home / "spec.yml").write_text(specs.spec(files, specs.postgresql()))
        fleet.environment.pop(specs.DSN, None)

    def staff(self, dsn: str = "") -> None:
        loader = self.fleet.start("loader", "run", **{specs.DSN: dsn or self.dsn})
        self._loader = loader

    def dismiss(self) -> None:
        kill(self._loader)

    def look(self, *words: str, **more: str) -> tuple[int, dict[str, Line]]:
        """Exit code, and check → its last line."""
        done = self.fleet.run("doctor", "spec.yml", "--json", *words, **more)
        assert "Traceback" not in done.said
        assert self.dsn not in done.said
        lines = [orjson.loads(line) for line in done.out.splitlines()]
        return done.code, {x["check"]: Line(x["level"], x["says"], x["mend"]) for x in lines}


@pytest.fixture
def clinic(tmp_path: Path, redis_url: str, postgres_dsn: str) -> Iterator[Clinic]:
    environment = {"SHARDER_BROKER": redis_url, "SHARDER_STAGE": str(tmp_path / "stage")}
    with Fleet(tmp_path, environment) as fleet:
        yield Clinic(fleet, postgres_dsn)


CLOCKS = ("clock of the broker", "clock of the stage", "clock of w")


def test_version_and_clock_of_the_warehouse_come_from_the_loader(clinic: Clinic) -> None:
    clinic.staff()
    code, found = clinic.look()
    assert code == Exit.OK, found
    assert "ready to load" in found["destination w"].says
    assert found["version of w"].says.startswith("PostgreSQL ")
    assert {found[clock].level for clock in CLOCKS} == {"ok"}
    code, found = clinic.look(SKEW_HOURS="1")
    assert code == Exit.OUTSIDE
    for clock in CLOCKS:
        assert (found[clock].level, "behind ours" in found[clock].says) == ("failure", True)
        assert "NTP" in found[clock].mend


def test_a_warehouse_that_refuses_us_or_does_not_answer_comes_with_what_mends_it(
    clinic: Clinic,
) -> None:
    host = clinic.dsn.rpartition("@")[2]
    for dsn, says in (
        (f"postgresql://sharder:wrong@{host}", "UNAUTHORIZED: "),
        ("postgresql://sharder@127.0.0.1:1/lake", "CONNECTION_FAILED: "),
    ):
        clinic.staff(dsn)
        code, found = clinic.look()
        clinic.dismiss()
        assert code == Exit.OUTSIDE
        assert found["destination w"].level == "failure"
        assert found["destination w"].says.startswith(says)
        assert found["destination w"].mend
        assert "clock of w" not in found
        assert "version of w" not in found


def test_without_a_loader_the_warehouse_is_not_judged(clinic: Clinic) -> None:
    code, found = clinic.look("--timeout", "1s")
    assert code == Exit.OUTSIDE
    assert (found["loaders"].level, found["loaders"].mend) == ("warning", "start one: loader run")
    assert found["destination w"].says == "CONNECTION_FAILED: no loader answered in 1 s"
    assert "clock of w" not in found
