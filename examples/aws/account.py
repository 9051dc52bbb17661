"""What an account of the estate has once: identities, buckets, hosted zones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from examples.aws.place import TEAMS, Place, pairs

ASSUMABLE = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ec2.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
)


def identity(place: Place) -> None:
    """Users, groups, roles, policies and access keys of an account."""
    iam = place.client("iam")
    for service in ("lambda", "eks", "config"):
        iam.create_role(RoleName=f"{place.name}-{service}", AssumeRolePolicyDocument=ASSUMABLE)
    for i in place.several(24):
        name = f"{place.named(i)}-role"
        iam.create_role(
            RoleName=name, AssumeRolePolicyDocument=ASSUMABLE, Tags=pairs(place.tags(name))
        )
    for i in place.several(10):
        name = f"{place.named(i)}-policy"
        action = place.rng.choice(("s3:GetObject", "sqs:SendMessage", "dynamodb:Query", "*"))
        document = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}],
        }
        iam.create_policy(
            PolicyName=name, PolicyDocument=json.dumps(document), Tags=pairs(place.tags(name))
        )
    for team in TEAMS:
        iam.create_group(GroupName=f"{place.name}-{team}")
    for i in place.several(15):
        team = TEAMS[i % len(TEAMS)]
        name = f"{team}.user{i:02d}"
        iam.create_user(UserName=name, Tags=pairs(place.tags(name)))
        iam.add_user_to_group(GroupName=f"{place.name}-{team}", UserName=name)
        if i % 2 == 0:
            iam.create_access_key(UserName=name)


def buckets(place: Place, regions: Sequence[str]) -> None:
    """Buckets over all regions: some encrypted, some with a policy, one in five not blocked."""
    s3 = place.client("s3")
    names = [f"{place.named(i)}-{place.account}" for i in place.several(18)]
    for i, name in enumerate([f"{place.name}-audit-{place.account}", *names]):
        region = regions[i % len(regions)]
        # us-east-1 is the one region that must not be named.
        where: dict[str, Any] = (
            {}
            if region == "us-east-1"
            else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        )
        s3.create_bucket(Bucket=name, **where)
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": pairs(place.tags(name))})
        if i % 5:
            s3.put_public_access_block(
                Bucket=name,
                PublicAccessBlockConfiguration={
                    "BlockPublicAcls": True,
                    "IgnorePublicAcls": True,
                    "BlockPublicPolicy": True,
                    "RestrictPublicBuckets": True,
                },
            )
        if i % 3:
            rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
            s3.put_bucket_encryption(
                Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]}
            )
        if i % 4 == 0:
            deny = {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": f"arn:aws:s3:::{name}/*",
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
            document = {"Version": "2012-10-17", "Statement": [deny]}
            s3.put_bucket_policy(Bucket=name, Policy=json.dumps(document))


def zones(place: Place) -> None:
    """Hosted zones."""
    route53 = place.client("route53")
    for i in place.several(2):
        zone = route53.create_hosted_zone(
            Name=f"{place.name}-{i}.example.com.", CallerReference=f"{place.account}-{i}"
        )["HostedZone"]["Id"]
        route53.change_tags_for_resource(
            ResourceType="hostedzone",
            ResourceId=zone.rsplit("/", 1)[-1],
            AddTags=pairs(place.tags(zone)),
        )


def fill_account(place: Place, regions: Sequence[str]) -> None:
    """What an account has once; before the regions, which refer to its roles and buckets."""
    identity(place)
    buckets(place, regions)
    zones(place)
