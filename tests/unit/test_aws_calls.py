"""Paging, pace and what errors mean: the decisions around a call, without one."""

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    ReadTimeoutError,
    UnknownRegionError,
)

from contracts.errors import Denied, Permanent, Unreachable
from worker.limits.machine import LocalPermits
from worker.limits.pace import Paced
from worker.sources.aws.locked import Paging
from worker.sources.aws.outcomes import ending, is_absent, retry_after_s
from worker.sources.aws.pace import AwsPace
from worker.sources.aws.paging import following


def answered(code, message="no"):
    return ClientError({"Error": {"Code": code, "Message": message}}, "Op")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (answered("AccessDenied"), ("failed", "denied")),
        (answered("AccessDeniedException", "explicit deny in a service control policy"), ("failed", "denied")),
        (answered("UnauthorizedOperation"), ("failed", "denied")),
        (answered("SubscriptionRequiredException"), ("skipped", "off")),
        (answered("AWSOrganizationsNotInUseException"), ("skipped", "off")),
        (answered("BadRequest", "This service is not available in the requested region"), ("skipped", "region_off")),
        (answered("Throttling"), ("failed", "throttled")),
        (answered("TooManyRequestsException"), ("failed", "throttled")),
        (answered("SlowDown"), ("failed", "throttled")),
        (answered("ExpiredTokenException"), ("failed", "expired")),
        (answered("ResourceNotFoundException"), ("failed", "failed")),
        (UnknownRegionError(region_name="x", error_msg="x"), ("skipped", "region_off")),
        (ReadTimeoutError(endpoint_url="x"), ("failed", "failed")),
        (Denied("no credentials"), ("failed", "denied")),
        (Unreachable("no answer"), ("failed", "failed")),
    ],
)  # fmt: skip
def test_an_error_is_an_outcome(error, expected):
    found = ending(error, "us-east-1", works_elsewhere=lambda: True, call="ec2.DescribeVpcs")
    assert (found.outcome, found.reason) == expected
    assert found.message.startswith("ec2.DescribeVpcs: ")


@pytest.mark.parametrize(
    ("region", "elsewhere", "expected"),
    [
        ("eu-south-2", True, ("skipped", "region_off")),
        ("eu-south-2", False, ("failed", "denied")),
        ("us-east-1", True, ("failed", "denied")),
    ],
)
def test_an_unknown_token_means_a_region_that_is_off_only_if_it_works_elsewhere(
    region, elsewhere, expected
):
    for code in ("InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure"):
        found = ending(answered(code), region, works_elsewhere=lambda: elsewhere, call="x")
        assert (found.outcome, found.reason) == expected


def test_a_name_that_does_not_resolve_means_no_such_region_only_if_the_network_works():
    def lost(reason):
        return EndpointConnectionError(endpoint_url="x", error=OSError(reason))

    unresolved = lost("Failed to resolve 'x.amazonaws.com'")
    assert ending(unresolved, "r", works_elsewhere=lambda: True, call="x").reason == "region_off"
    assert ending(unresolved, "r", works_elsewhere=lambda: False, call="x").reason == "failed"
    refused = lost("Connection refused")
    assert ending(refused, "r", works_elsewhere=lambda: True, call="x").outcome == "failed"


def test_absent_is_what_the_table_declares_and_below_a_parent_any_not_found():
    assert is_absent(answered("NoSuchTagSet"), ("NoSuchTagSet",), usual=False)
    assert not is_absent(answered("NoSuchBucket"), (), usual=False)
    assert is_absent(answered("NoSuchBucket"), (), usual=True)
    assert not is_absent(answered("AccessDenied"), (), usual=True)
    assert not is_absent(ValueError("x"), (), usual=True)


def test_the_next_page_is_asked_for_with_every_token():
    paging = Paging(send=("Name", "Type"), take=("NextName", "Next.Type"), more="IsTruncated")
    output = {"NextName": "n", "Next": {"Type": "t"}, "IsTruncated": True}
    assert following(paging, output, {}) == {"Name": "n", "Type": "t"}
    assert following(paging, {**output, "IsTruncated": False}, {}) is None
    assert following(None, output, {}) is None
    assert following(
        Paging(send=("M",), take=("A || B[-1].K",)), {"B": [{"K": 1}, {"K": 2}]}, {}
    ) == {"M": 2}


def test_an_empty_token_ends_the_list_and_a_repeated_one_is_refused():
    paging = Paging(send=("Token",), take=("Token",))
    assert following(paging, {"Token": ""}, {}) is None
    with pytest.raises(Permanent, match="would never end"):
        following(paging, {"Token": "t"}, {"Token": "t"})


class Clock:
    def __init__(self):
        self.now = 1000.0
        self.slept = 0.0

    def sleep(self, seconds):
        self.now += seconds
        self.slept += seconds


def paced(rate, *, known=True):
    clock = Clock()
    permits = LocalPermits(clock=lambda: clock.now)
    pace = Paced(permits, "aws", sleep=clock.sleep, cancelled=lambda: False)
    return clock, AwsPace(pace, rate, known=known)


def test_calls_are_free_until_the_bucket_is_empty_and_then_keep_the_rate():
    clock, pace = paced(0)
    for _ in range(100):
        pace.wait("1", "r", "ec2", "Op")
    assert clock.slept == pytest.approx(0, abs=1e-9)
    for _ in range(190):
        pace.wait("1", "r", "ec2", "Op")
    assert clock.slept == pytest.approx(10, abs=0.1)


def test_a_rate_of_the_user_holds_from_the_first_call_on():
    clock, pace = paced(10)
    for _ in range(96):
        pace.wait("1", "r", "ec2", "Op")
    assert clock.slept == pytest.approx(10)


def test_accounts_regions_and_services_do_not_share_a_bucket():
    clock, pace = paced(1)
    for account, region, service in (
        ("1", "a", "x"),
        ("2", "a", "x"),
        ("1", "b", "x"),
        ("1", "a", "y"),
    ):
        pace.wait(account, region, service, "Op")
    assert clock.slept == 0


def test_a_throttled_bucket_is_slower_and_recovers():
    clock, pace = paced(10)
    pace.throttled("1", "r", "ec2", "Op")
    for _ in range(10):
        pace.wait("1", "r", "ec2", "Op")
    assert clock.slept > 1.0 + 9 / 9.5  # a pause, then half the rate at first
    clock.now += 120
    clock.slept = 0
    for _ in range(10):
        pace.wait("1", "r", "ec2", "Op")
    assert clock.slept == pytest.approx(9 / 9.5)


def test_an_answer_that_says_for_how_long_is_obeyed_within_reason():
    for asked, slept in ((0.0, 1.0), (30.0, 30.0), (1e9, 900.0)):
        clock, pace = paced(10)
        pace.throttled("1", "r", "ec2", "Op", asked)
        pace.wait("1", "r", "ec2", "Op")
        assert clock.slept == pytest.approx(slept)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), (" 7 ", 7.0), ("", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0), ("-1", 0.0)],
)
def test_retry_after_is_read_in_seconds(header, seconds):
    response = {"ResponseMetadata": {"HTTPHeaders": {"retry-after": header}}}
    assert retry_after_s(response) == seconds
    assert retry_after_s({}) == 0.0


def test_what_aws_is_known_to_bear_is_the_default_but_not_for_a_simulator():
    clock, pace = paced(0)
    for _ in range(26):
        pace.wait("1", "r", "route53", "ListHostedZones")
    assert clock.slept == pytest.approx(1 / 4.75)
    clock, pace = paced(0, known=False)
    for _ in range(1000):
        pace.wait("1", "r", "route53", "ListHostedZones")
    assert clock.slept == 0
    pace.throttled("1", "r", "route53", "ListHostedZones")
    pace.wait("1", "r", "route53", "ListHostedZones")
    assert clock.slept == pytest.approx(1.0)  # not even a simulator is asked during a pause
