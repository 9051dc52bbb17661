"""Names of columns are those of CloudQuery's tables."""

import pytest

from worker.sources.aws import locked
from worker.sources.aws.naming import column_name, field_name

KNOWN = {
    "InstanceId": "instance_id",
    "clusterArn": "cluster_arn",
    "DBInstanceArn": "db_instance_arn",
    "DbiResourceId": "dbi_resource_id",
    "KMSKeyId": "kms_key_id",
    "SSEDescription": "sse_description",
    "TDECredentialArn": "tde_credential_arn",
    "CACertificateIdentifier": "ca_certificate_identifier",
    "IAMDatabaseAuthenticationEnabled": "iam_database_authentication_enabled",
    "Ipv6CidrBlockAssociationSet": "ipv6_cidr_block_association_set",
    "CidrIPv6": "cidr_ipv6",
    "IPv4Address": "ipv4_address",
    "EnableDns64": "enable_dns64",
    "DNSName": "dns_name",
    "HTTPSPort": "https_port",
    "SecurityGroupIDs": "security_group_ids",
    "URLs": "urls",
    "NotificationARNs": "notification_arns",
    "OpenIDConnectProviderARNs": "open_id_connect_provider_arns",
    "EC2SecurityGroups": "ec2_security_groups",
    "ARN": "arn",
    "arn": "arn",
    "S3BucketName": "s3_bucket_name",
    "logGroupName": "log_group_name",
    "MultiAZ": "multi_az",
    "access_key_1_active": "access_key_1_active",
}


@pytest.mark.parametrize(("member", "column"), KNOWN.items())
def test_a_member_becomes_the_column_that_cloudquery_has(member, column):
    assert column_name(member) == column


def test_keys_inside_json_are_go_field_names():
    assert field_name("clusterArn") == "ClusterArn"
    assert field_name("Name") == "Name"


def test_no_column_has_a_torn_word():
    words = {w for t in locked.tables().values() for c in t.columns for w in c.name.split("_")}
    assert {w for w in words if len(w) == 1 and not w.isdigit()} == set()
