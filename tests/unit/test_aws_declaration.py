"""The language of a table's line."""

import pytest

from contracts.errors import Permanent
from worker.sources.aws.declaration import declared, parent, spoken


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "GetUser(UserName=UserName).User",
            ("GetUser", {"UserName": "UserName"}, "one", "User", ""),
        ),
        ("GetFunction(FunctionName=F)@", ("GetFunction", {"FunctionName": "F"}, "whole", "", "")),
        ("D(clusters=.*100).clusters[]", ("D", {"clusters": "."}, "many", "clusters[]", "")),
        ("G(QueueUrl=.).Attributes{}", ("G", {"QueueUrl": "."}, "spread", "Attributes", "")),
        ("T(Arns=Arn*20).Found[Arn].Tags", ("T", {"Arns": "Arn"}, "keyed", "Found[]:Tags", "Arn")),
        ("T(Names=n*20).Found[n]", ("T", {"Names": "n"}, "keyed", "Found[]", "n")),
    ],
)
def test_a_call_says_what_to_ask_and_what_to_take(text, expected):
    found = spoken(text)
    assert (found.op, found.args, found.shape, found.path, found.key) == expected


def test_a_call_may_batch_transform_and_name_errors_that_mean_nothing_is_there():
    found = spoken("Tags(Ids=Zone.Id|trim /zone/*10,Type='zone').Sets[Id].Tags|tags!NoSuchTag!Gone")
    assert (found.batch, found.size) == ("Ids", 10)
    assert found.args == {"Ids": "Zone.Id|trim /zone/", "Type": "'zone'"}
    assert found.transform == "tags"
    assert found.absent == ("NoSuchTag", "Gone")


def test_what_is_not_a_call_is_refused():
    with pytest.raises(Permanent, match="not a call"):
        spoken("ListUsers")
    with pytest.raises(Permanent, match="not a parent"):
        parent("aws_iam_users")


def test_a_parent_gives_inputs_from_its_columns():
    assert parent("aws_iam_users(UserName=user_name)") == (
        "aws_iam_users",
        {"UserName": "user_name"},
    )


def test_a_key_that_the_language_does_not_have_is_refused_with_its_place():
    with pytest.raises(Permanent, match=r"(?s)x\.yaml.*arm"):
        declared("aws_x: {op: ec2.DescribeVpcs, arm: =Arn}", "x.yaml")
    with pytest.raises(Permanent, match=r"x\.yaml"):
        declared("just text", "x.yaml")
