"""How many rows each table ought to have: counted in the simulator's memory, not through its API.

So a test compares what was extracted with something that the extraction had no part in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Count = Callable[[Any], int]


def _nested(groups: Mapping[str, Mapping[str, Any]]) -> int:
    return sum(len(inner) for inner in groups.values())


def _where(things: Iterable[Any], attribute: str) -> int:
    return sum(1 for thing in things if getattr(thing, attribute))


# Table → (moto's service, how to count its rows in one backend). Counting what an API hides (a deleted
# thing, a page that is not the last) is the point, so private attributes are read where there are no others.
REGIONAL: Mapping[str, tuple[str, Count]] = {
    "aws_ec2_instances": ("ec2", lambda b: sum(len(r.instances) for r in b.reservations.values())),
    "aws_ec2_vpcs": ("ec2", lambda b: len(b.vpcs)),
    "aws_ec2_subnets": ("ec2", lambda b: _nested(b.subnets)),
    "aws_ec2_security_groups": ("ec2", lambda b: _nested(b.groups)),
    "aws_ec2_ebs_volumes": ("ec2", lambda b: len(b.volumes)),
    "aws_ec2_ebs_snapshots": ("ec2", lambda b: len(b.snapshots)),
    "aws_ec2_images": ("ec2", lambda b: len(b.amis)),
    "aws_ec2_network_interfaces": ("ec2", lambda b: len(b.enis)),
    "aws_ec2_eips": ("ec2", lambda b: len(b.addresses)),
    "aws_ec2_route_tables": ("ec2", lambda b: len(b.route_tables)),
    "aws_lambda_functions": ("lambda", lambda b: len(list(b.list_functions()))),
    "aws_ecs_clusters": ("ecs", lambda b: len(b.clusters)),
    "aws_ecs_cluster_services": ("ecs", lambda b: len(b.services)),
    "aws_eks_clusters": ("eks", lambda b: len(b.clusters)),
    "aws_ecr_repositories": ("ecr", lambda b: len(b.repositories)),
    "aws_rds_instances": ("rds", lambda b: len(b.databases)),
    "aws_rds_clusters": ("rds", lambda b: len(b.clusters)),
    "aws_dynamodb_tables": ("dynamodb", lambda b: len(b.tables)),
    "aws_sqs_queues": ("sqs", lambda b: len(b.queues)),
    "aws_sns_topics": ("sns", lambda b: len(b.topics)),
    "aws_elbv2_load_balancers": ("elbv2", lambda b: len(b.load_balancers)),
    "aws_kms_keys": ("kms", lambda b: len(b.keys)),
    "aws_secretsmanager_secrets": ("secretsmanager", lambda b: len(list(b.secrets.values()))),
    "aws_ssm_parameters": ("ssm", lambda b: len(list(b._parameters.keys()))),  # noqa: SLF001 - see above
    "aws_acm_certificates": ("acm", lambda b: len(b._certificates)),  # noqa: SLF001 - see above
    "aws_cloudtrail_trails": ("cloudtrail", lambda b: len(b.trails)),
    "aws_cloudwatch_alarms": ("cloudwatch", lambda b: len(b.alarms)),
    "aws_cloudwatchlogs_log_groups": ("logs", lambda b: len(b.groups)),
    "aws_cloudformation_stacks": ("cloudformation", lambda b: len(b.stacks)),
    "aws_config_configuration_recorders": ("config", lambda b: len(b.recorders)),
    "aws_guardduty_detectors": ("guardduty", lambda b: len(b.detectors)),
}

GLOBAL: Mapping[str, tuple[str, Count]] = {
    "aws_s3_buckets": ("s3", lambda b: len(b.buckets)),
    "aws_s3_bucket_policies": ("s3", lambda b: _where(b.buckets.values(), "policy")),
    "aws_s3_bucket_encryption_rules": ("s3", lambda b: _where(b.buckets.values(), "encryption")),
    "aws_s3_bucket_public_access_blocks": (
        "s3",
        lambda b: _where(b.buckets.values(), "public_access_block"),
    ),
    "aws_iam_users": ("iam", lambda b: len(b.users)),
    "aws_iam_credential_reports": ("iam", lambda b: len(b.users)),
    "aws_iam_roles": ("iam", lambda b: len(b.roles)),
    "aws_iam_policies": (
        "iam",
        lambda b: sum(1 for a in b.managed_policies if ":aws:policy" not in a),
    ),
    "aws_iam_groups": ("iam", lambda b: len(b.groups)),
    "aws_iam_user_access_keys": (
        "iam",
        lambda b: sum(len(user.access_keys) for user in b.users.values()),
    ),
    "aws_route53_hosted_zones": ("route53", lambda b: len(b.zones)),
}


def count(accounts: Iterable[str], regions: Sequence[str]) -> dict[str, dict[str, int]]:
    """Table → account → rows, over all regions; tables without a row anywhere are left out."""
    from importlib import import_module

    moto: Any = import_module("moto.backends")  # typed by a literal per service; ours are data
    rows: dict[str, dict[str, int]] = {}
    for tables, places in ((REGIONAL, regions), (GLOBAL, ("aws",))):
        for table, (service, of) in tables.items():
            backends = moto.get_backend(service)
            rows[table] = {a: sum(of(backends[a][place]) for place in places) for a in accounts}
    organisation = moto.get_backend("organizations")
    rows["aws_organizations_accounts"] = {a: len(organisation[a]["aws"].accounts) for a in accounts}
    return {table: counts for table, counts in rows.items() if any(counts.values())}
