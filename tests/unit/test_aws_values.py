"""Sources of values and their transforms; dicts to Arrow."""

import json
from datetime import UTC, datetime

import pytest

from contracts.errors import SchemaChanged
from worker.sources.aws import locked
from worker.sources.aws.convert import Converter, dumps, renamed
from worker.sources.aws.values import TRANSFORMS, below, getter, timestamp

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    ["2026-01-02T12:00:00Z", "2026-01-02T12:00:00.000Z", "2026-01-02T14:00:00+02:00", 1767355200,
     1767355200.0, "1767355200", "Fri, 02 Jan 2026 12:00:00 GMT", NOON],
)  # fmt: skip
def test_every_form_of_time_is_the_same_moment_in_utc(value):
    assert timestamp(value) == NOON
    assert timestamp(value).tzinfo is UTC


def test_arns_are_filled_from_the_row_and_absent_if_a_part_is():
    get = getter("arn:ec2:{@region}:{@account}:instance/{InstanceId}")
    row = {"@partition": "aws-cn", "@region": "cn-north-1", "@account": "1", "InstanceId": "i-1"}
    assert get(row) == "arn:aws-cn:ec2:cn-north-1:1:instance/i-1"
    assert get({**row, "InstanceId": None}) is None
    zone = getter("arn:route53:::hostedzone/{HostedZone.Id|trim /hostedzone/}")
    assert (
        zone({"@partition": "aws", "HostedZone": {"Id": "/hostedzone/Z"}})
        == "arn:aws:route53:::hostedzone/Z"
    )


def test_paths_collect_from_lists_and_stop_at_what_is_absent():
    pages = {"R": [{"I": [{"n": 1}, {"n": 2}]}, {"I": [{"n": 3}]}, {}]}
    assert below(pages, "R[].I[]") == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert below({}, "R[].I[]") == []
    assert below({"a": None}, "a.b") is None


@pytest.mark.parametrize(
    ("transform", "value", "expected"),
    [
        ("tags", [{"Key": "b", "Value": "2"}, {"Key": "a"}], {"a": "", "b": "2"}),
        ("tags", [{"TagKey": "k", "TagValue": "v"}], {"k": "v"}),
        ("tags", [{"key": "k", "value": "v"}], {"k": "v"}),
        ("tags", {"k": "v"}, {"k": "v"}),
        ("json", '{"a": [1]}', {"a": [1]}),
        ("json", "not json", "not json"),
        ("json", "", None),
        ("urljson", "%7B%22a%22%3A1%7D", {"a": 1}),
        ("urljson", {"a": 1}, {"a": 1}),
        ("int", "12", 12),
        ("int", "12.5", 12),
        ("int", "N/A", None),
        ("float", "1.5", 1.5),
        ("bool", "true", True),
        ("bool", "FALSE", False),
        ("bool", "N/A", None),
        ("ts", "N/A", None),
        ("ts", "soon", None),
        ("bucket_region", "EU", "eu-west-1"),
        ("bucket_region", None, "us-east-1"),
        ("reason_time", "User initiated (2026-01-02 12:00:00 GMT)", NOON),
        ("reason_time", "Client.UserInitiatedShutdown", None),
    ],
)
def test_transforms(transform, value, expected):
    assert TRANSFORMS[transform](value, "") == expected


def test_a_part_of_a_text():
    assert TRANSFORMS["part"]("arn:aws:logs:r:1:log-group:NAME:*", ": 6") == "NAME"
    assert TRANSFORMS["part"]("short", ": 6") is None


def test_names_change_where_the_shape_has_structures_and_stay_in_maps():
    names = {"envs": {"*": {"value": None}}, "items": {"id": None}}
    value = {"envs": {"lower": {"value": 1}}, "items": [{"id": 1, "other": 2}], "kept": 3}
    assert renamed(value, names) == {
        "Envs": {"lower": {"Value": 1}},
        "Items": [{"Id": 1, "other": 2}],
        "kept": 3,
    }


def test_json_holds_times_in_utc_and_bytes_as_base64():
    assert json.loads(dumps({"t": NOON, "b": b"\x00\xff"})) == {
        "t": "2026-01-02T12:00:00Z",
        "b": "AP8=",
    }
    with pytest.raises(TypeError):
        dumps(object())


def vpcs(*rows):
    place = {"@account": "1", "@region": "us-east-1", "@partition": "aws"}
    table = locked.tables()["aws_ec2_vpcs"]
    wanted = ["arn", "vpc_id", "is_default", "tags", "cidr_block_association_set"]
    return Converter(table, wanted).batch([{**r, **place} for r in rows])


def test_rows_become_a_batch_with_the_wanted_columns_only():
    batch = vpcs(
        {"VpcId": "v1", "IsDefault": True, "Tags": [{"Key": "k", "Value": "é"}], "Strange": 1},
        {"VpcId": "v2", "CidrBlockAssociationSet": [{"CidrBlock": "10.0.0.0/8"}]},
    )
    assert batch.to_pylist() == [
        {"arn": "arn:aws:ec2:us-east-1:1:vpc/v1", "cidr_block_association_set": None,
         "tags": '{"k":"é"}', "vpc_id": "v1", "is_default": True},
        {"arn": "arn:aws:ec2:us-east-1:1:vpc/v2", "tags": None, "vpc_id": "v2", "is_default": None,
         "cidr_block_association_set": '[{"CidrBlock":"10.0.0.0/8"}]'},
    ]  # fmt: skip


def test_a_number_where_text_is_due_becomes_text_but_other_types_are_refused():
    assert vpcs({"VpcId": 17}).column("vpc_id").to_pylist() == ["17"]
    with pytest.raises(SchemaChanged, match=r"aws_ec2_vpcs\.IsDefault"):
        vpcs({"VpcId": "v", "IsDefault": "perhaps"})
