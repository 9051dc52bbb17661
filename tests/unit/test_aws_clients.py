"""Client ids are made when asked for; tables that are not in every region are ranges of one list."""

import tracemalloc
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from contracts.errors import InputError
from worker.sources import aws
from worker.sources.aws import accounts
from worker.sources.aws.clientlist import RegionMajor, parse
from worker.sources.aws.options import Options
from worker.sources.base import Context

CONTEXT = Context("aws", lambda: datetime(2026, 1, 1, tzinfo=UTC), lambda _: None, lambda: False)


def clients(spec, table):
    source = aws.open(spec, CONTEXT)
    top = next(t for t in source.tables() if t.name == table)
    return source.clients(top)


def test_ten_thousand_accounts_by_seventeen_regions_cost_no_memory():
    numbers = tuple(f"{n:012}" for n in range(10_000))
    regions = tuple(f"r{n}" for n in range(17))
    tracemalloc.start()
    ids = RegionMajor({numbers: regions})
    ranges = ids.ranges(frozenset({"r3", "r16"}))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(ids) == 170_000
    assert ids[0] == "000000000000:r0"
    assert ids[169_999] == ids[-1] == "000000009999:r16"
    assert ranges == ((0, 30_000), (40_000, 160_000))
    assert peak < 100_000


def test_accounts_with_regions_of_their_own_stand_in_the_blocks_of_those():
    ids = RegionMajor({("1", "2"): ("a", "b"), ("3",): ("b", "c")})
    assert list(ids) == ["1:a", "2:a", "1:b", "2:b", "3:b", "3:c"]
    assert ids[1:3] == ["2:a", "1:b"]
    assert ids.ranges(frozenset()) is None
    assert ids.ranges(frozenset({"b"})) == ((0, 2), (5, 6))
    assert ids.ranges(frozenset({"a", "b", "c"})) == ()
    with pytest.raises(IndexError):
        ids[6]


def test_ids_are_read_back():
    assert parse("123456789012:eu-west-1") == ("123456789012", "eu-west-1")
    assert parse("123456789012") == ("123456789012", "")


def test_accounts_of_the_spec_need_no_call_and_regions_limit_their_tables():
    spec = {
        "regions": ["us-east-1", "me-central-1"],
        "accounts": [
            {"id": "111111111111", "role_arn": "arn:aws:iam::111111111111:role/r"},
            {
                "id": "alias",
                "role_arn": "arn:aws:iam::222222222222:role/r",
                "regions": ["eu-west-1"],
            },
            {
                "id": "again",
                "role_arn": "arn:aws:iam::222222222222:role/r",
                "regions": ["eu-west-1"],
            },
            {
                "id": "cn",
                "role_arn": "arn:aws-cn:iam::333333333333:role/r",
                "regions": ["cn-north-1"],
            },
        ],
    }
    found = clients(spec, "aws_ec2_instances")
    assert list(found.ids) == [
        "111111111111:us-east-1",
        "111111111111:me-central-1",
        "222222222222:eu-west-1",
        "333333333333:cn-north-1",
    ]
    assert (found.list, found.ranges, found.whole) == ("regions", None, True)
    assert list(clients(spec, "aws_iam_users").ids) == [
        "111111111111",
        "222222222222",
        "333333333333",
    ]


def test_the_partition_of_an_account_is_in_its_role_or_its_default_region():
    spec = {"accounts": [{"id": "111111111111", "default_region": "us-gov-west-1"}]}
    (account,) = accounts.listed(Options.model_validate(spec))
    assert account.partition == "aws-us-gov"


def test_members_are_asked_with_what_they_trust():
    org = {
        "member_role_name": "reader",
        "member_external_id": "42",
        "admin_account": {"local_profile": "admin"},
        "member_trusted_principal": {"local_profile": "hub", "role_arn": "arn:aws:iam::999999999999:role/hub"},
    }  # fmt: skip
    options = Options.model_validate({"org": org})
    member = accounts.member(options, options.org, "111111111111")
    assert member.principal.profile == "hub"
    assert [r.arn for r in member.principal.roles] == [
        "arn:aws:iam::999999999999:role/hub",
        "arn:aws:iam::111111111111:role/reader",
    ]
    assert member.principal.roles[1].external_id == "42"
    assert accounts.admin_principal(options.org).profile == "admin"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"region": []}, "region"),
        ({"regions": ["*", "us-east-1"]}, "stands alone"),
        ({"regions": ["us-*"]}, "patterns are not supported"),
        ({"accounts": [{"id": 12345678901}]}, "put the account id in quotes"),
        ({"accounts": [{"role_arn": "x"}]}, "id"),
        ({"accounts": [{"id": "a", "role_arn": "arn:aws:iam::1:user/x"}]}, "not the ARN of a role"),
        ({"accounts": [{"id": "a"}], "org": {"member_role_name": "r"}}, "exclude each other"),
        ({"org": {}}, "member_role_name"),
        ({"org": {"member_role_name": "r", "organization_units": ["unit"]}}, "organisational unit"),
        ({"table_options": {"aws_x": {}}}, "not supported"),
        ({"event_based_sync": {"kinesis_stream_arn": "x"}}, "not supported"),
        ({"scheduler": "fifo"}, "scheduler"),
    ],
)
def test_a_spec_that_cannot_be_meant_is_refused_with_the_reason(spec, message):
    with pytest.raises(ValidationError, match=message):
        Options.model_validate(spec)


def test_regions_of_accounts_and_members_are_checked_too():
    for spec in (
        {"accounts": [{"id": "a", "regions": ["nowhere-1"]}]},
        {"org": {"member_role_name": "r", "member_regions": ["nowhere-1"]}},
    ):
        with pytest.raises(InputError, match="nowhere-1"):
            aws.open(spec, CONTEXT)


def test_paid_tables_are_there_only_if_they_may_be_used():
    def names(spec):
        return {t.name for t in aws.open(spec, CONTEXT).tables()}

    assert names({"use_paid_apis": True}) - names({}) == {"aws_costexplorer_cost_30d"}
