"""The Source suite on AWS (moto's server, several accounts), and what is its own: outcomes, paging, children."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from contracts import table as cq
from contracts.errors import Denied, InputError
from tests.fakes.aws import HOME, aws_server
from tests.fakes.aws_estate import seed
from tests.suites.source import SourceSuite, context, frozen, read
from worker.sources import aws

FULL, SMALL, EMPTY = "111111111111", "222222222222", "333333333333"
REGIONS = ["us-east-1", "eu-west-1", "eu-central-1"]
# One of every kind: nested rows, children, extra columns, describes by one and by batch, maps, joins.
KINDS = (
    "aws_ec2_vpcs",
    "aws_s3_buckets",
    "aws_iam_users",
    "aws_ecs_clusters",
    "aws_sqs_queues",
    "aws_route53_hosted_zones",
    "aws_elbv2_load_balancers",
    "aws_config_configuration_recorders",
    "aws_ssm_parameters",
)


@pytest.fixture(scope="module")
def server():
    with pytest.MonkeyPatch.context() as patch, aws_server() as fake:
        patch.setenv("AWS_ACCESS_KEY_ID", "seeder")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "seeder")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_REGION"):
            patch.delenv(name, raising=False)
        seed(fake, FULL)
        _seed_small(fake)
        fake.answers["cur", "DescribeReportDefinitions"] = _reports
        fake.answers["ce", "GetCostAndUsage"] = _costs
        yield fake


def _seed_small(fake):
    """Another account, in another region: instances on several pages, buckets of two regions, users."""
    ec2 = fake.client("ec2", SMALL, "eu-west-1")
    ec2.run_instances(ImageId="ami-12345678", MinCount=7, MaxCount=7)
    s3 = fake.client("s3", SMALL)
    s3.create_bucket(Bucket="here")
    s3.create_bucket(
        Bucket="there", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    for user in ("cleo", "dora"):
        fake.client("iam", SMALL).create_user(UserName=user)


def _reports(asked):
    """Three pages of one report; CUR has a paginator."""
    page = int(asked.get("NextToken", "0"))
    more = {"NextToken": str(page + 1)} if page < 2 else {}
    return {"ReportDefinitions": [{"ReportName": f"r{page}", "TimeUnit": "DAILY"}]} | more


def _costs(asked):
    """Three pages of one day; botocore has no paginator for Cost Explorer."""
    page = int(asked.get("NextPageToken", "0"))
    more = {"NextPageToken": str(page + 1)} if page < 2 else {}
    period = {"Start": f"2026-04-0{page + 1}", "End": f"2026-04-0{page + 2}"}
    return {"ResultsByTime": [{"TimePeriod": period, "Total": {}, "Estimated": False}]} | more


@pytest.fixture
def opened(server):
    def open_(accounts=(FULL, SMALL, EMPTY), **spec):
        surroundings = spec.pop("context", context())
        return aws.open(server.options(accounts, **({"regions": REGIONS} | spec)), surroundings)

    return open_


class TestAws(SourceSuite):
    tops = KINDS
    empty = frozenset({"aws_ecs_cluster_tasks"})

    @pytest.fixture
    def source(self, opened):
        return opened((FULL, SMALL), regions=["us-east-1", "eu-west-1"])


def tree_of(source, table):
    return frozen(source)[table]


def ids_of(source, table):
    found = source.clients(tree_of(source, table)[0])
    ranges = found.ranges if found.ranges is not None else ((0, len(found.ids)),)
    return [found.ids[i] for start, stop in ranges for i in range(start, stop)]


def rows_of(source, table, clients=None, child=None):
    tree = tree_of(source, table)
    reading = read(source, tree, clients or ids_of(source, table))
    wanted = next(t for t in tree if t.name == (child or table))
    return reading.table(wanted).to_pylist()


def test_every_table_has_rows_in_a_full_estate(opened):
    source = opened((FULL,), regions=["us-east-1"], use_paid_apis=True)
    rows = Counter()
    for tree in frozen(source).values():
        reading = read(source, tree, ids_of(source, tree[0].name))
        assert {e.outcome for e in reading.ends} == {"ok"}, reading.ends
        rows += Counter({t.name: reading.table(t).num_rows for t in tree})
    assert len({t.name for t in source.tables()}) == 46
    # moto starts no tasks for services.
    assert {t.name for t in source.tables()} - set(rows) == {"aws_ecs_cluster_tasks"}
    assert rows["aws_ssm_parameters"] == 60
    assert rows["aws_ecs_cluster_services"] == 12


def test_clients_are_accounts_by_regions_region_by_region(opened):
    source = opened()
    assert ids_of(source, "aws_ec2_instances") == [
        f"{account}:{region}" for region in REGIONS for account in (FULL, SMALL, EMPTY)
    ]
    assert ids_of(source, "aws_iam_users") == [FULL, SMALL, EMPTY]
    assert source.clients(tree_of(source, "aws_iam_users")[0]).whole


def test_rows_belong_to_the_account_and_region_that_were_asked(opened):
    rows = rows_of(opened(), "aws_ec2_instances")
    assert Counter((r["account_id"], r["region"], r["_cq_client_id"]) for r in rows) == {
        (FULL, "us-east-1", f"{FULL}:us-east-1"): 2,
        (SMALL, "eu-west-1", f"{SMALL}:eu-west-1"): 7,
    }
    assert all(
        r["arn"].startswith(f"arn:aws:ec2:{r['region']}:{r['account_id']}:instance/i-")
        for r in rows
    )


def test_many_accounts_at_once_never_mix_their_credentials(server, opened):
    accounts = [f"{n:012}" for n in range(500, 530)]
    for account in accounts:
        server.client("iam", account).create_group(GroupName=f"of-{account}")
    source = opened(accounts, context=context(max_clients_in_flight=16))
    rows = rows_of(source, "aws_iam_groups")
    assert {(r["account_id"], r["group_name"]) for r in rows} == {(a, f"of-{a}") for a in accounts}
    assert all(r["arn"].split(":")[4] == r["account_id"] for r in rows)


def test_tags_are_one_mapping_whatever_the_service_calls_them(opened):
    source = opened((FULL,), regions=["us-east-1"])
    found = {
        table: [json.loads(r["tags"]) for r in rows_of(source, table) if r["tags"] not in (None, "{}")]
        for table in ("aws_ec2_instances", "aws_rds_instances", "aws_lambda_functions", "aws_kms_keys",
                      "aws_sqs_queues", "aws_route53_hosted_zones", "aws_elbv2_load_balancers",
                      "aws_ecs_clusters", "aws_cloudtrail_trails")
    }  # fmt: skip
    assert found == {
        "aws_ec2_instances": [{"Name": "wéb"}] * 2,
        "aws_rds_instances": [{"d": "b"}],
        "aws_lambda_functions": [{"cost": "low"}],
        "aws_kms_keys": [{"key": "1"}],
        "aws_sqs_queues": [{"q": "1"}],
        "aws_route53_hosted_zones": [{"zone": "yes"}],
        "aws_elbv2_load_balancers": [{"tier": "web"}],
        "aws_ecs_clusters": [{"env": "one"}, {"env": "two"}],
        "aws_cloudtrail_trails": [{"ct": "1"}],
    }


def test_keys_inside_json_are_members_with_a_capital_but_keys_of_maps_stay(opened):
    source = opened((FULL,), regions=["us-east-1"])
    (function,) = rows_of(source, "aws_lambda_functions")
    variables = json.loads(function["configuration"])["Environment"]["Variables"]
    assert variables == {"lower_case": "kept", "Upper": "kept"}
    (recorder,) = rows_of(source, "aws_config_configuration_recorders")
    assert json.loads(recorder["recording_group"])["AllSupported"] is True
    assert recorder["status_name"] == recorder["name"]
    assert recorder["status_recording"] is False


def test_children_carry_columns_and_the_id_of_their_parent(opened):
    source = opened((FULL,))
    tree = tree_of(source, "aws_ecs_clusters")
    reading = read(source, tree, [f"{FULL}:us-east-1"])
    clusters = {r["arn"]: r[cq.ID] for r in reading.table(tree[0]).to_pylist()}
    services = reading.table(tree[1]).to_pylist()
    assert len(services) == 12
    assert {(s["cluster_arn"], s[cq.PARENT_ID]) for s in services} <= set(clusters.items())


def test_children_of_tables_that_are_not_selected_are_read_all_the_same(opened):
    source = opened((FULL,))
    tree = tree_of(source, "aws_iam_users")
    reading = read(source, tree, [FULL], selected=["aws_iam_user_access_keys"])
    keys = reading.table(tree[1]).to_pylist()
    assert {k["user_name"] for k in keys} == {"ann", "bob"}
    assert all(k["user_arn"] and k["last_rotated"] == k["create_date"] for k in keys)
    assert {e.table for e in reading.ends} == {"aws_iam_user_access_keys"}


def test_the_region_of_a_bucket_answers_for_it(server, opened):
    regions = {}

    def watch(request):
        if request.service == "s3" and "?policyStatus" in request.op:
            regions[request.op.split("/")[1].split("?")[0]] = request.region

    with server.rule(watch):
        rows = rows_of(opened((SMALL,)), "aws_s3_buckets")
    assert {r["name"]: r["region"] for r in rows} == {"here": "us-east-1", "there": "eu-central-1"}
    assert regions == {"here": "us-east-1", "there": "eu-central-1"}


def test_paged_lists_are_read_past_page_one_with_or_without_a_paginator(opened):
    source = opened((FULL,), use_paid_apis=True)
    assert [r["report_name"] for r in rows_of(source, "aws_cur_report_definitions")] == [
        "r0",
        "r1",
        "r2",
    ]
    days = [r["start_date"] for r in rows_of(source, "aws_costexplorer_cost_30d")]
    assert days == ["2026-04-01", "2026-04-02", "2026-04-03"]


def test_a_token_that_repeats_fails_the_cell_instead_of_reading_for_ever(server, opened):
    source = opened((FULL,), use_paid_apis=True)
    before = server.answers["ce", "GetCostAndUsage"]
    server.answers["ce", "GetCostAndUsage"] = lambda _: {"ResultsByTime": [], "NextPageToken": "x"}
    try:
        (end,) = read(source, tree_of(source, "aws_costexplorer_cost_30d"), [FULL]).ends
    finally:
        server.answers["ce", "GetCostAndUsage"] = before
    assert (end.outcome, end.reason) == ("failed", "failed")
    assert "would never end" in end.message


def test_a_role_that_cannot_be_assumed_is_denied_and_the_other_accounts_are_read(server, opened):
    denied = "444444444444"
    with server.denied_role(denied):
        source = opened((FULL, denied))
        tree = tree_of(source, "aws_iam_users")
        before = server.calls["sts", "AssumeRole"]
        reading = read(source, tree, [FULL, denied])
        assert server.calls["sts", "AssumeRole"] - before <= 2  # asked once, not once per table
    ends = {(e.table, e.client): (e.outcome, e.reason) for e in reading.ends}
    assert ends == {
        ("aws_iam_users", FULL): ("ok", None),
        ("aws_iam_user_access_keys", FULL): ("ok", None),
        ("aws_iam_users", denied): ("failed", "denied"),
        ("aws_iam_user_access_keys", denied): ("failed", "parent"),
    }
    assert {client for _, client in reading.rows} == {FULL}


def test_a_role_that_was_denied_works_again_in_the_next_shard_once_it_may(server, opened):
    account = "555555555555"
    with server.denied_role(account):
        source = opened((account,))
        assert read(source, tree_of(source, "aws_iam_groups"), [account]).ends[0].reason == "denied"
    source = opened((account,))
    assert read(source, tree_of(source, "aws_iam_groups"), [account]).ends[0].outcome == "ok"


@pytest.mark.parametrize(
    ("table", "service", "op", "code", "expected"),
    [
        ("aws_ec2_vpcs", "ec2", "DescribeVpcs", "UnauthorizedOperation", ("failed", "denied")),
        ("aws_ec2_vpcs", "ec2", "DescribeVpcs", "OptInRequired", ("skipped", "off")),
        ("aws_ec2_vpcs", "ec2", "DescribeVpcs", "RequestLimitExceeded", ("failed", "throttled")),
        ("aws_ec2_vpcs", "ec2", "DescribeVpcs", "RequestExpired", ("failed", "expired")),
        ("aws_ec2_vpcs", "ec2", "DescribeVpcs", "InternalError", ("failed", "failed")),
        ("aws_ec2_vpcs", "ec2", "DescribeVpcs", "AuthFailure", ("failed", "denied")),
        ("aws_sns_topics", "sns", "ListTopics", "InvalidAction", ("skipped", "region_off")),
        ("aws_sns_topics", "sns", "GetTopicAttributes", "AuthorizationError", ("failed", "denied")),
        ("aws_ssm_parameters", "ssm", "ListTagsForResource", "AccessDeniedException", ("failed", "denied")),
        ("aws_dynamodb_tables", "dynamodb", "DescribeTable", "AccessDeniedException", ("failed", "denied")),
    ],
)  # fmt: skip
def test_what_aws_answers_becomes_the_outcome_of_the_cell(
    server, opened, table, service, op, code, expected
):
    source = opened((FULL,), max_retries=0)
    with server.failing(service, op, code):
        (end,) = read(source, tree_of(source, table), [f"{FULL}:us-east-1"]).ends
    assert (end.outcome, end.reason) == expected
    assert op in end.message


def test_a_region_that_is_not_enabled_is_off_but_a_stranger_is_denied(server, opened):
    source = opened((FULL,), regions=["us-east-1", "eu-south-2"], max_retries=0)
    with server.failing("ec2", "DescribeVpcs", "AuthFailure", region="eu-south-2"):
        ends = read(source, tree_of(source, "aws_ec2_vpcs"), ids_of(source, "aws_ec2_vpcs")).ends
    assert {e.client: (e.outcome, e.reason) for e in ends} == {
        f"{FULL}:us-east-1": ("ok", None),
        f"{FULL}:eu-south-2": ("skipped", "region_off"),
    }


def test_a_thing_that_is_gone_between_list_and_describe_leaves_no_row(server, opened):
    source = opened((FULL,))
    with server.failing("dynamodb", "DescribeTable", "ResourceNotFoundException"):
        reading = read(source, tree_of(source, "aws_dynamodb_tables"), [f"{FULL}:us-east-1"])
    assert reading.outcomes("aws_dynamodb_tables") == {f"{FULL}:us-east-1": "ok"}
    assert not reading.rows


def test_a_child_that_fails_leaves_its_parent_ok(server, opened):
    source = opened((FULL,))
    tree = tree_of(source, "aws_s3_buckets")
    bucket = f"data-{FULL}-us-east-1"
    with server.failing("s3", f"GET /{bucket}?encryption", "AccessDenied", status=403):
        reading = read(source, tree, [FULL])
    ends = {e.table: (e.outcome, e.reason) for e in reading.ends}
    assert ends.pop("aws_s3_bucket_encryption_rules") == ("failed", "denied")
    assert set(ends.values()) == {("ok", None)}


def test_a_failing_call_is_tried_again(server, opened):
    left = iter(["ServiceUnavailable"] * 2)

    def flaky(request):
        if (request.service, request.op) == ("ec2", "DescribeRouteTables"):
            return (503, code) if (code := next(left, "")) else None
        return None

    with server.rule(flaky):
        rows = rows_of(opened((FULL,), regions=["us-east-1"]), "aws_ec2_route_tables")
    assert rows


def test_without_accounts_the_default_credentials_own_account_is_read(server):
    server.client("iam").create_group(GroupName="mine")
    source = aws.open({"custom_endpoint_url": server.url, "regions": ["us-east-1"]}, context())
    assert ids_of(source, "aws_iam_groups") == [HOME]
    assert [r["account_id"] for r in rows_of(source, "aws_iam_groups")] == [HOME]


def test_without_regions_all_enabled_ones_are_read(opened):
    ids = ids_of(opened((FULL,), regions=["*"]), "aws_ec2_vpcs")
    assert f"{FULL}:us-east-1" in ids
    assert len(ids) > 15


def test_regions_that_may_not_be_listed_leave_the_usual_ones_and_say_so(server, opened):
    source = opened((FULL,), regions=[], max_retries=0)
    with server.failing("ec2", "DescribeRegions", "UnauthorizedOperation"):
        found = source.clients(tree_of(source, "aws_ec2_vpcs")[0])
    assert len(found.ids) == 17
    assert not found.whole
    assert "UnauthorizedOperation" in found.why_not


@pytest.fixture(scope="module")
def units(server):
    """Two units, one inside the other; an account in the root and in each of them."""
    organizations = server.client("organizations")
    organizations.create_organization(FeatureSet="ALL")
    root = organizations.list_roots()["Roots"][0]["Id"]
    parents = [root]
    for name in ("outer", "inner"):
        unit = organizations.create_organizational_unit(ParentId=parents[-1], Name=name)
        parents.append(unit["OrganizationalUnit"]["Id"])
    accounts = []
    for parent in parents:
        status = organizations.create_account(AccountName=f"in-{parent}", Email="a@example.com")
        accounts.append(status["CreateAccountStatus"]["AccountId"])
        if parent != root:
            organizations.move_account(
                AccountId=accounts[-1], SourceParentId=root, DestinationParentId=parent
            )
    return {"outer": parents[1], "inner": parents[2], "accounts": accounts}


class TestOrganisation:
    """Accounts found through AWS Organizations."""

    def ids(self, server, **org):
        spec = {"custom_endpoint_url": server.url, "regions": ["us-east-1"]}
        source = aws.open(spec | {"org": {"member_role_name": "reader", **org}}, context())
        return source, ids_of(source, "aws_iam_groups")

    def test_all_active_accounts_are_read(self, server, units):
        _, ids = self.ids(server)
        assert set(ids) == {*units["accounts"], HOME}

    def test_units_choose_with_those_inside_them(self, server, units):
        _, ids = self.ids(server, organization_units=[units["outer"]])
        assert set(ids) == set(units["accounts"][1:])

    def test_units_and_accounts_can_be_left_out(self, server, units):
        _, ids = self.ids(
            server, skip_organization_units=[units["inner"]], skip_member_accounts=[HOME]
        )
        assert set(ids) == set(units["accounts"][:2])

    def test_members_are_read_with_the_members_role_and_the_admin_as_itself(self, server, units):
        source, ids = self.ids(server)
        before = server.calls["sts", "AssumeRole"]
        reading = read(source, tree_of(source, "aws_iam_groups"), ids)
        assert set(reading.outcomes("aws_iam_groups").values()) == {"ok"}
        assert server.calls["sts", "AssumeRole"] - before == len(units["accounts"])

    def test_an_organisation_that_may_not_be_listed_ends_the_plan(self, server, units):
        denied = server.failing("organizations", "ListAccounts", "AccessDeniedException")
        with denied, pytest.raises(Denied, match=r"organizations\.ListAccounts"):
            self.ids(server)

    def test_a_unit_that_may_not_be_listed_makes_the_list_incomplete(self, server, units):
        with server.failing(
            "organizations", "ListOrganizationalUnitsForParent", "AccessDeniedException"
        ):
            source, ids = self.ids(server, organization_units=[units["outer"]])
        assert ids == [units["accounts"][1]]
        found = source.clients(tree_of(source, "aws_iam_groups")[0])
        assert not found.whole
        assert units["outer"] in found.why_not


def test_a_region_that_does_not_exist_is_a_slip_of_the_pen(opened):
    with pytest.raises(InputError, match="us-eats-1") as raised:
        opened(regions=["us-eats-1"])
    assert "us-east-1" in raised.value.hint


def test_a_cancelled_attempt_ends_without_outcomes(opened):
    source = opened((FULL,), context=context(cancelled=lambda: True))
    assert read(source, tree_of(source, "aws_ec2_vpcs"), [f"{FULL}:us-east-1"]).ends == []


def test_closing_the_stream_early_ends_its_threads(opened):
    import threading

    source = opened((FULL,), regions=["us-east-1"])
    from worker.sources.base import Work

    tree = tree_of(source, "aws_ec2_ebs_snapshots")
    stream = source.read(Work(tree, frozenset({tree[0].name}), ids_of(source, tree[0].name)), {})
    next(stream)
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("aws-")]


def test_credentials_are_renewed_before_they_end(server, opened):
    start = datetime.now(UTC)
    clock = {"now": start}
    # A rate of its own gives the test a process state of its own: nothing was assumed there yet.
    source = opened((FULL,), context=context(now=lambda: clock["now"], rate_per_s=997.0))
    before = server.calls["sts", "AssumeRole"]
    for minutes, expected in ((0, 1), (30, 1), (55, 2)):
        clock["now"] = start + timedelta(minutes=minutes)
        read(source, tree_of(source, "aws_iam_groups"), [FULL])
        assert server.calls["sts", "AssumeRole"] - before == expected
