"""The lock is what the declarations and the pinned botocore compile to, and all that a worker reads."""

import subprocess
import sys

from contracts import types
from worker.sources.aws import locked
from worker.sources.aws.iam import policy
from worker.sources.aws.lock import FOLDER, changes, main

KEYS = {
    "aws_ec2_instances": ("arn",),
    "aws_ec2_subnets": ("request_account_id", "request_region", "arn"),
    "aws_ec2_eips": ("account_id", "region", "allocation_id"),
    "aws_iam_policies": ("account_id", "id"),
    "aws_iam_user_access_keys": ("account_id", "user_arn", "access_key_id"),
    "aws_iam_credential_reports": ("arn", "user_creation_time"),
    "aws_ecr_repositories": ("arn", "registry_id"),
    "aws_ecs_cluster_services": ("arn", "cluster_arn"),
    "aws_s3_bucket_policies": ("bucket_arn",),
    "aws_ssm_parameters": ("account_id", "region", "name"),
    "aws_guardduty_detectors": ("request_account_id", "request_region", "arn", "id"),
    "aws_costexplorer_cost_30d": ("account_id", "start_date", "end_date"),
}


def test_the_lock_is_what_the_declarations_compile_to():
    assert changes() == [], "run `python -m worker.sources.aws.lock` and review the diff"
    assert main(["--check"]) == 0


def test_the_lock_is_small_and_holds_all_tables():
    assert len(locked.tables()) == 46
    assert sum(f.stat().st_size for f in FOLDER.glob("*.json")) < 600_000


def test_keys_are_those_of_cloudquery():
    assert {t: locked.tables()[t].key for t in KEYS} == KEYS


def test_every_table_has_a_key_a_description_and_types_that_documents_can_hold():
    for found in locked.tables().values():
        table = found.table
        assert table.primary_key, table.name
        assert table.description, table.name
        assert all(types.decode(types.encode(c.type)) == c.type for c in table.columns)


def test_the_policy_allows_what_the_chosen_tables_call_and_nothing_else():
    tables = locked.tables()
    statement = policy([tables["aws_s3_buckets"], tables["aws_cloudwatch_alarms"]])["Statement"][0]
    assert statement["Action"] == [
        "cloudwatch:DescribeAlarms",
        "cloudwatch:ListTagsForResource",
        "s3:GetBucketLocation",
        "s3:GetBucketPolicyStatus",
        "s3:GetBucketTagging",
        "s3:ListAllMyBuckets",
    ]


def test_services_that_are_not_in_every_region_say_where_but_unknown_regions_are_tried():
    regions = locked.regions()
    assert "us-east-1" not in regions.absent["guardduty"]
    assert "us-west-2" in regions.absent["cur"]
    assert "iam" not in regions.absent  # it lists no regions at all
    assert "eu-west-1" in regions.partitions["aws"]
    assert regions.partition("cn-north-1") == "aws-cn"


def test_tables_and_options_are_there_without_aws_libraries():
    code = """
import sys
from datetime import UTC, datetime
from worker.sources.aws import open
from worker.sources.base import Context
context = Context("aws", lambda: datetime.now(UTC), lambda s: None, lambda: False)
assert len(open({}, context).tables()) == 45
assert not [m for m in sys.modules if m.split(".")[0] in ("boto3", "botocore")]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
