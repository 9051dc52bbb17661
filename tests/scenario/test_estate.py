"""The simulated organisation: what it holds, whom it refuses, and that it can be built twice alike."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import duckdb
import pytest

from contracts.summary import CellCounts, DestinationSummary, Problem, Summary
from examples.aws import run
from examples.aws.estate import ROOT, Estate, Gate, estate

# Building takes some 15 s of one core, most of it the simulator's own imports.
pytestmark = pytest.mark.timeout(300)
SMALL = {"scale": 0.1}


def client(aws: Estate, service: str, account: str = "", region: str = "us-east-1"):
    """A client of the management account, or of a member by its role."""
    import boto3
    from botocore.config import Config

    keys = {"aws_access_key_id": "estate", "aws_secret_access_key": "estate"}
    if account:
        given = client(aws, "sts").assume_role(
            RoleArn=f"arn:aws:iam::{account}:role/{aws.role}", RoleSessionName="test"
        )["Credentials"]
        keys = {
            "aws_access_key_id": given["AccessKeyId"],
            "aws_secret_access_key": given["SecretAccessKey"],
            "aws_session_token": given["SessionToken"],
        }
    once = Config(retries={"total_max_attempts": 1})
    return boto3.client(service, endpoint_url=aws.endpoint, region_name=region, config=once, **keys)


def instances(aws: Estate, account: str) -> list[str]:
    pages = (
        client(aws, "ec2", account, region).get_paginator("describe_instances").paginate()
        for region in aws.regions
    )
    return [
        instance["InstanceId"]
        for region in pages
        for page in region
        for reservation in page["Reservations"]
        for instance in reservation["Instances"]
    ]


@pytest.fixture(scope="module")
def aws():
    with estate(**SMALL) as running:
        yield running


class TestTheOrganisation:
    def test_it_has_six_accounts_and_lists_them(self, aws):
        listed = client(aws, "organizations").list_accounts()["Accounts"]
        assert {a["Id"]: a["Name"] for a in listed}.keys() == aws.accounts.keys()
        assert list(aws.accounts.values()) == [
            "management", "prod", "staging", "data", "security", "legacy",
        ]  # fmt: skip

    def test_only_the_denied_account_refuses_its_role(self, aws):
        from botocore.exceptions import ClientError

        assert [aws.accounts[a] for a in aws.denied] == ["legacy"]
        for account in aws.accounts:
            if account not in aws.denied:
                identity = client(aws, "sts", account).get_caller_identity()
                assert identity["Account"] == account
        with pytest.raises(ClientError) as refusal:
            client(aws, "sts", aws.denied[0])
        assert refusal.value.response["Error"]["Code"] == "AccessDenied"
        assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403

    def test_what_the_api_lists_is_what_was_counted(self, aws):
        counts = aws.counts()
        prod = next(a for a, name in aws.accounts.items() if name == "prod")
        buckets = client(aws, "s3", prod).list_buckets()["Buckets"]
        users = client(aws, "iam", prod).list_users()["Users"]
        assert len(instances(aws, prod)) == counts["aws_ec2_instances"][prod]
        assert len(buckets) == counts["aws_s3_buckets"][prod]
        assert len(users) == counts["aws_iam_users"][prod]

    def test_it_spans_more_than_fifteen_services(self, aws):
        assert len({table.split("_")[1] for table in aws.counts()}) > 15

    def test_accounts_do_not_see_each_other(self, aws):
        prod, staging = list(aws.accounts)[1:3]
        assert not set(instances(aws, prod)) & set(instances(aws, staging))

    def test_every_thing_says_whose_it_is(self, aws):
        prod = list(aws.accounts)[1]
        name = client(aws, "sqs", prod).list_queues()["QueueUrls"][0]
        tags = client(aws, "sqs", prod).list_queue_tags(QueueUrl=name)["Tags"]
        assert tags["env"] == "prod"
        assert tags.keys() == {"Name", "env", "team", "cost-center"}


@pytest.mark.slow
def test_the_demonstration_ends_well_in_an_estate_that_the_same_seed_builds_again(
    aws, tmp_path, monkeypatch
):
    done = subprocess.run(
        [sys.executable, "-m", "examples.aws.run", "--scale", "0.1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.chdir(tmp_path)
    assert run.compare(run.rows(), aws.counts(), aws) == ""
    prod = list(aws.accounts)[1]
    with duckdb.connect(str(run.DATABASE)) as warehouse:
        found = warehouse.execute(
            "SELECT instance_id FROM aws_ec2_instances WHERE account_id = $1", [prod]
        )
        assert sorted(i for (i,) in found.fetchall()) == sorted(instances(aws, prod))
    endpoint = re.search(r"regions at (http://\S+)", done.stdout)
    assert endpoint
    with pytest.raises(URLError):  # leaving ends it
        urlopen(endpoint[1])
    assert "exit code 3, and the only reason is that legacy (" in done.stdout
    for account in ("management", "prod", "staging", "data", "security", "legacy", "all"):
        assert re.search(rf"^{account} +.* [\d,]+$", done.stdout, re.MULTILINE)
    assert "where p.bucket_arn is null" in done.stdout


def test_an_unknown_account_to_deny_is_refused_at_once():
    with pytest.raises(RuntimeError, match="ended at once"), estate(deny=["nobody"], **SMALL):
        pytest.fail("it started")


class TestGate:
    """What stands in front of the simulator, without the simulator."""

    @staticmethod
    def ask(path="/", body="", service="sts"):
        seen = []

        def inner(environ, start_response):
            seen.append(environ["wsgi.input"].read().decode())
            start_response("200 OK", [])
            return [b"inner"]

        gate = Gate(inner, ["222222222222"], lambda: {"rows": {}})
        statuses = []
        environ = {
            "PATH_INFO": path,
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/{service}/aws4_request, …",
            "wsgi.input": io.BytesIO(body.encode()),
        }
        answer = b"".join(gate(environ, lambda status, headers: statuses.append(status)))
        return statuses[0], answer.decode(), seen

    def test_a_denied_role_gets_the_error_that_aws_sends(self):
        role = "arn:aws:iam::222222222222:role/reader"
        status, answer, seen = self.ask(body=urlencode({"Action": "AssumeRole", "RoleArn": role}))
        assert status == "403 Forbidden"
        assert "<Code>AccessDenied</Code>" in answer
        assert role in answer
        assert not seen

    def test_other_roles_pass_with_their_body_untouched(self):
        body = urlencode(
            {"Action": "AssumeRole", "RoleArn": "arn:aws:iam::111111111111:role/reader"}
        )
        assert self.ask(body=body) == ("200 OK", "inner", [body])

    def test_calls_of_other_services_pass_unread(self):
        assert self.ask(body="x", service="ec2") == ("200 OK", "inner", ["x"])

    def test_it_tells_what_there_is(self):
        assert json.loads(self.ask("/_estate")[1]) == {"rows": {}}


class TestTheVerdictOfTheDemonstration:
    ESTATE = Estate("http://x", {"1": "management", "2": "legacy"}, ["2"], ["us-east-1"], "r")
    DENIED = Problem(
        source="aws", table="t", outcome="failed", reason="denied", cells=1,
        clients=("2:us-east-1",), message="no",
    )  # fmt: skip

    def judge(self, code=3, problems=(DENIED,), error=""):
        now = datetime(2026, 1, 1, tzinfo=UTC)
        load = DestinationSummary(
            destination="duckdb", source="aws", table="t", published=1, stale=0,
            guarantee="transactional", error=error,
        )  # fmt: skip
        summary = Summary(
            run="r", round=1, sync_time=now, started=now, ended=now, exit_code=code,
            cells=CellCounts(ok=1, failed=1), tables=(), destinations=(load,), problems=problems,
            rows=1, bytes=1,
        )  # fmt: skip
        return run.judge(code, [summary], self.ESTATE)

    def test_the_refused_account_alone_is_as_expected(self):
        assert self.judge() == ""

    def test_another_exit_code_is_named(self):
        assert "returned 0" in self.judge(code=0)

    def test_a_failure_of_another_account_is_named(self):
        other = self.DENIED.model_copy(update={"clients": ("1:us-east-1", "2:us-east-1")})
        assert "t of 1:us-east-1: denied" in self.judge(problems=(other,))

    def test_another_reason_is_named(self):
        other = self.DENIED.model_copy(update={"reason": "timeout"})
        assert "timeout" in self.judge(problems=(other,))

    def test_the_children_of_a_refused_table_may_fail_too(self):
        child = self.DENIED.model_copy(update={"reason": "parent"})
        assert self.judge(problems=(self.DENIED, child)) == ""

    def test_what_was_skipped_is_no_failure(self):
        other = self.DENIED.model_copy(update={"outcome": "skipped", "reason": "region_off"})
        assert self.judge(problems=(self.DENIED, other)) == ""

    def test_a_load_that_failed_is_named(self):
        assert "disk full" in self.judge(error="disk full")

    def test_no_problem_at_all_is_a_problem(self):
        assert "refuses its role" in self.judge(problems=())

    def test_a_row_too_few_or_too_many_is_named(self):
        real = {"t": {"1": 2, "2": 9}}
        assert run.compare({"t": {"1": 2}}, real, self.ESTATE) == ""
        assert "t has 1 rows of management (1), where 2" in run.compare(
            {"t": {"1": 1}}, real, self.ESTATE
        )
        assert "u has 1 rows" in run.compare({**real, "u": {"1": 1}}, real, self.ESTATE)
