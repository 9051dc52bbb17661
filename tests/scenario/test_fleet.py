"""Whole runs on a fleet: Redis, an S3 stage, two workers, a loader and PostgreSQL, all of them real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import psycopg
import pytest

from contracts import layout
from contracts.errors import Exit
from contracts.stage import Stage
from contracts.store import open_store
from contracts.summary import Summary
from tests.fakes import aws_estate, specs
from tests.fakes.aws import AwsServer, aws_server
from tests.fakes.contents import differences, of_duckdb, of_postgresql
from tests.fakes.fleet import Fleet, ended, kill, until
from tests.fakes.servers import S3

pytestmark = [pytest.mark.redis, pytest.mark.postgres, pytest.mark.s3, pytest.mark.timeout(300)]

ACCOUNTS = ("111111111111", "222222222222", "333333333333")
DENIED = ACCOUNTS[2]
# Here the simulator answers with the time at which it is asked.
CLOCKS = {
    "aws_acm_certificates.domain_validation_options",
    "aws_acm_certificates.status",  # the simulator issues it after a minute
    "aws_cloudtrail_trails.status",
    "aws_rds_clusters.latest_restorable_time",
    "aws_rds_instances.latest_restorable_time",
}


class Stand:
    """A fleet with its stage and its warehouse. Programs are started by the test."""

    def __init__(self, fleet: Fleet, stage: Stage, dsn: str) -> None:
        self.fleet, self.stage, self.dsn = fleet, stage, dsn

    def staff(self, workers: int = 2) -> None:
        for _ in range(workers):
            self.fleet.start("worker", "run")
        self.fleet.start("loader", "run")

    def write(self, *documents: specs.Document) -> None:
        (self.fleet.home / "spec.yml").write_text(specs.spec(*documents))

    def summary(self, run: str, round_: int = 1) -> Summary:
        found = self.stage.summary(run, round_)
        assert found, self.fleet.logs()
        return found

    def links(self) -> list[tuple[str, ...]]:
        with psycopg.connect(self.dsn) as warehouse:
            return linked(lambda sql: warehouse.execute(sql.encode()).fetchall())


LINKS = (
    "SELECT r.client, r.name, l.client, l.name, CAST(l.number AS text) "
    "FROM root0 AS r FULL JOIN root0_leaves AS l ON l._cq_parent_id = r._cq_id"
)
EXPECTED_LINKS = [
    (client, f"{client} {n}", client, f"{client} {n}", str(leaf))
    for client in ("ann", "bob")
    for n in range(3)
    for leaf in range(2)
]


def linked(query) -> list[tuple[str, ...]]:
    """Leaves beside the roots that they are linked to by id."""
    return sorted(tuple(row) for row in query(LINKS))


@pytest.fixture
def stand(
    tmp_path: Path, redis_url: str, s3: S3, s3_url: str, postgres_dsn: str
) -> Iterator[Stand]:
    environment = {
        **s3.environment(),
        "SHARDER_BROKER": redis_url,
        "SHARDER_STAGE": s3_url,
        specs.DSN: postgres_dsn,
    }
    with Fleet(tmp_path, environment) as fleet:
        yield Stand(fleet, Stage(open_store(s3_url)), postgres_dsn)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Where shards of a tree wait; they go on when there is a file `open` in it."""
    place = tmp_path / "gate"
    place.mkdir()
    return place


class TestTheSameSpecEmbeddedAndOnAFleet:
    @pytest.fixture(scope="class")
    @classmethod
    def organisation(cls) -> Iterator[AwsServer]:
        with aws_server() as aws:
            aws_estate.seed(aws, ACCOUNTS[0])
            for n in range(60):  # more than one page of fifty
                aws.client("ssm", ACCOUNTS[1], "eu-west-1").put_parameter(
                    Name=f"/p/{n}", Value="v", Type="String"
                )
            # moto does not know this service.
            aws.answers["cur", "DescribeReportDefinitions"] = lambda _: {"ReportDefinitions": []}
            with aws.denied_role(DENIED):
                yield aws

    def test_gives_equal_rows_from_aws(self, stand: Stand, organisation: AwsServer) -> None:
        source = specs.aws(organisation.options(ACCOUNTS, regions=["us-east-1", "eu-west-1"]))
        stand.write(source, specs.duckdb())
        embedded = Fleet(stand.fleet.home, {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"})
        done = embedded.sharder("submit", "spec.yml", expect=Exit.PARTIAL)
        assert "denied" in done.out

        stand.write(source, specs.postgresql())
        stand.staff()
        stand.fleet.sharder("submit", "spec.yml", "--run-id", "r", expect=Exit.PARTIAL)
        problems = stand.summary("r").problems
        assert {p.reason for p in problems if p.outcome == "failed"} == {"denied", "parent"}
        assert {c.split(":")[0] for p in problems for c in p.clients} == {DENIED}

        one, other = of_duckdb(stand.fleet.home / "w.duckdb"), of_postgresql(stand.dsn)
        found = [d for d in differences(one, other) if d.split(":")[0] not in CLOCKS]
        assert not found, "\n".join(found)
        assert sum(map(bool, one.values())) > 35
        assert len(one["aws_ssm_parameters"]) == 2 * 60

    def test_gives_the_same_parent_links_where_ids_are_random(self, stand: Stand) -> None:
        import duckdb

        stand.write(specs.tree(keyed=False), specs.duckdb())
        Fleet(stand.fleet.home).sharder("submit", "spec.yml")
        stand.write(specs.tree(keyed=False), specs.postgresql())
        stand.staff(1)
        stand.fleet.sharder("submit", "spec.yml")
        with duckdb.connect(str(stand.fleet.home / "w.duckdb")) as warehouse:
            embedded = linked(lambda sql: warehouse.execute(sql).fetchall())
        assert stand.links() == embedded == EXPECTED_LINKS


class TestARunThatNobodyWaitsFor:
    def test_is_detached_watched_cancelled_and_retried(self, stand: Stand, gate: Path) -> None:
        fleet = stand.fleet
        stand.write(specs.tree(keyed=False, gate=str(gate)), specs.postgresql())
        stand.staff()
        watch = fleet.start("sharder", "watch")
        until(lambda: lists(stand, layout.lease("", "watch")))
        done = fleet.sharder("submit", "spec.yml", "--detach", "--run-id", "nightly")
        assert "sharder status nightly" in done.err
        until(lambda: list(gate.iterdir()))
        assert "running" in fleet.sharder("status", "nightly").out
        assert "nightly" in fleet.sharder("runs").out
        done = fleet.sharder("retry", "nightly", expect=Exit.INPUT)
        assert "sharder resume nightly" in done.err

        assert "ends now" in fleet.sharder("cancel", "nightly").out
        until(lambda: stand.stage.summary("nightly", 1))
        assert stand.summary("nightly").exit_code == Exit.OUTSIDE
        assert stand.summary("nightly").problems[0].reason == "cancelled"
        assert "closed" in fleet.sharder("status", "nightly").out
        assert stand.links() == []

        (gate / "open").touch()
        assert "round 2" in fleet.sharder("retry", "nightly").out
        assert stand.links() == EXPECTED_LINKS
        assert "nothing to try again" in fleet.sharder("retry", "nightly").err
        assert watch.poll() is None
        status = orjson.loads(fleet.sharder("status", "nightly", "--json").out)
        assert (status["round"], status["state"]) == (2, "closed")

    def test_is_resumed_when_its_submitter_is_killed(self, stand: Stand, gate: Path) -> None:
        fleet = stand.fleet
        stand.write(specs.tree(keyed=False, gate=str(gate)), specs.postgresql())
        stand.staff()
        submit = fleet.start("sharder", "submit", "spec.yml", "--run-id", "nightly")
        until(lambda: list(gate.iterdir()))
        kill(submit)
        (gate / "open").touch()
        until(lambda: lists(stand, layout.commits("nightly")))
        assert "interrupted" in fleet.sharder("status", "nightly").out
        fleet.sharder("resume", "nightly")
        assert stand.links() == EXPECTED_LINKS


class TestAFleetThatLosesSomething:
    @pytest.mark.slow
    def test_a_node_killed_in_the_middle_of_a_shard_costs_half_a_minute_and_no_row(
        self, stand: Stand, gate: Path
    ) -> None:
        stand.write(specs.tree(keyed=False, gate=str(gate)), specs.postgresql())
        node = stand.fleet.start("worker", "run")
        stand.fleet.start("loader", "run")
        submit = stand.fleet.start("sharder", "submit", "spec.yml", "--run-id", "r")
        until(lambda: list(gate.iterdir()))
        kill(node)
        (gate / "open").touch()
        stand.fleet.start("worker", "run")
        done = ended(submit)
        assert done.code == Exit.OK, done.said
        assert stand.links() == EXPECTED_LINKS
        assert stand.summary("r").attempts_lost == 1

    def test_a_broker_that_forgets_everything_costs_seconds_and_no_row(
        self, stand: Stand, gate: Path, redis_url: str
    ) -> None:
        import redis

        trees = 6
        stand.write(specs.tree(keyed=False, trees=trees, gate=str(gate)), specs.postgresql())
        stand.staff()
        submit = stand.fleet.start("sharder", "submit", "spec.yml", "--run-id", "r")
        until(lambda: len(list(gate.iterdir())) == 2)  # two shards at work, four in the queue
        with redis.from_url(redis_url) as broker:
            assert broker.llen("shards") == trees - 2
            broker.flushall()
        (gate / "open").touch()
        done = ended(submit)
        assert done.code == Exit.OK, done.said
        assert stand.links() == EXPECTED_LINKS
        assert len(list(lists(stand, layout.commits("r")))) == trees


def lists(stand: Stand, prefix: str) -> list[str]:
    """Keys on the stage below a prefix, or the key itself."""
    above = prefix[: prefix.rindex("/") + 1]
    return [e.key for e in stand.stage.store.list(above) if e.key.startswith(prefix)]
