"""One line of data and botocore's models make a table."""

import pytest

from contracts.errors import Permanent
from worker.sources.aws import shapes
from worker.sources.aws.compiler import compiled
from worker.sources.aws.declaration import Declared


def table(**line):
    return compiled("aws_x", Declared.model_validate(line))


def column(found, name):
    return next(c for c in found.columns if c.name == name)


def test_another_table_is_one_line():
    found = table(op="ec2.DescribeNatGateways", arn="ec2:natgateway/{NatGatewayId}")
    assert found.list.path == "NatGateways[]"
    assert found.list.inputs == {"MaxResults": 1000}
    assert found.list.paging.send == ("NextToken",)
    assert found.actions == ("ec2:DescribeNatGateways",)
    assert [c.name for c in found.columns][:3] == ["account_id", "region", "arn"]
    assert column(found, "arn").source == "arn:ec2:{@region}:{@account}:natgateway/{NatGatewayId}"
    assert column(found, "create_time").type == "timestamp[us, tz=UTC]"
    assert column(found, "nat_gateway_addresses").type == "json"
    assert column(found, "tags").transform == "tags"


def test_types_follow_the_shapes():
    found = table(op="eks.ListClusters", each="DescribeCluster(name=.).cluster", arn="=arn")
    types = {c.name: c.type for c in found.columns}
    assert types["name"] == "string"
    assert types["created_at"] == "timestamp[us, tz=UTC]"
    assert types["deletion_protection"] == "bool"
    assert types["encryption_config"] == "json"
    images = table(
        op="ec2.DescribeInstances", rows="Reservations[].Instances[]", pk=["instance_id"]
    )
    assert column(images, "ami_launch_index").type == "int64"
    listed = table(op="rds.DescribeDBInstances", arn="=DBInstanceArn")
    assert column(listed, "read_replica_db_instance_identifiers").type == {
        "list": ["item", "string", True]
    }


def test_json_says_which_of_its_keys_get_a_capital_and_recursion_ends():
    found = table(op="eks.ListClusters", each="DescribeCluster(name=.).cluster", arn="=arn")
    names = column(found, "kubernetes_network_config").names
    assert "serviceIpv4Cidr" in names
    assert (
        column(table(op="ec2.DescribeVpcs", pk=["vpc_id"]), "block_public_access_states").names
        is None
    )
    recursive = shapes.operation("ce.GetCostAndUsage").input_shape.members["Filter"]
    assert shapes.names(recursive) is None


def test_an_operation_without_a_paginator_is_paged_by_its_pair_of_tokens():
    assert not shapes.paginator("ce.GetCostAndUsage")
    assert shapes.paging("ce.GetCostAndUsage").take == ("NextPageToken",)
    assert shapes.paging("cloudtrail.ListEventDataStores").send == ("NextToken",)
    assert shapes.paging("cloudtrail.DescribeTrails") is None


def test_every_unpaginated_list_of_the_models_that_has_tokens_is_paged():
    """A sample of operations that botocore ships no paginator for."""
    for name in ("wafv2.ListWebACLs", "kafka.ListScramSecrets", "amplify.ListWebhooks"):
        assert shapes.paging(name) is not None, name


def test_the_page_size_is_the_models_maximum_or_what_the_line_says():
    assert shapes.page_size("kms.ListKeys", 0) == {"Limit": 1000}
    assert shapes.page_size("ec2.DescribeInstances", 0) == {}
    assert shapes.page_size("ec2.DescribeInstances", 1000) == {"MaxResults": 1000}
    assert shapes.page_size("route53.ListHostedZones", 100) == {"MaxItems": "100"}
    assert shapes.page_size("cloudtrail.DescribeTrails", 100) == {}


def test_tags_of_a_call_of_their_own_replace_the_members():
    found = table(
        op="sns.ListTopics",
        each="GetTopicAttributes(TopicArn=TopicArn).Attributes{}",
        arn="=TopicArn",
        cols={"TopicArn": "str", "SubscriptionsConfirmed": "int", "*": "json"},
        add={"tags": "ListTagsForResource(ResourceArn=TopicArn).Tags|tags"},
    )
    assert column(found, "tags").source == "+tags"
    assert column(found, "subscriptions_confirmed").transform == "int"
    assert column(found, "unknown_fields").source == "*"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"op": "ec3.DescribeVpcs"}, "no service 'ec3'"),
        ({"op": "ec2.DescribeVpc"}, "no operation 'DescribeVpc'"),
        ({"op": "ec2.DescribeVpcs", "rows": "Vpc[]"}, "no member 'Vpc'"),
        ({"op": "ec2.DescribeVpcs", "rows": "NextToken[]"}, "not a list"),
        ({"op": "ec2.DescribeVpcs", "pk": ["vpc"]}, "pk: no column vpc"),
        ({"op": "ec2.DescribeVpcs", "pk": ["vpc_id"], "cast": {"x": "ts"}}, "cast: no column x"),
        ({"op": "ec2.DescribeVpcs", "par": {"Vpc": 1}}, "no input Vpc"),
        ({"op": "iam.ListAccessKeys", "each": "GetUser(Name=UserName).User"}, "no input Name"),
        ({"op": "s3.GetBucketPolicy", "rows": "@"}, "needs the input Bucket"),
        ({"op": "sts.GetCallerIdentity"}, "returns no list"),
        ({"op": "s3.ListBuckets", "scope": "account", "own": "", "pk": ["name"],
          "add": {"name": "GetBucketLocation(Bucket=Name).LocationConstraint|bucket_regio"}}, "no transform"),
        ({"op": "account.ListRegions", "scope": "region", "ren": {"region_name": "region"},
          "pk": ["region"]}, "whom we asked"),
    ],
)  # fmt: skip
def test_a_line_that_the_models_contradict_is_refused_with_the_reason(line, message):
    with pytest.raises(Permanent, match=message) as raised:
        table(**line)
    assert str(raised.value).startswith("aws_x: ")
