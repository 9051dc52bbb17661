"""A small estate with something in every service that the `aws` source reads, made through AWS's own API."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from tests.fakes.aws import AwsServer

TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})
POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}],
    }
)


def seed(aws: AwsServer, account: str, region: str = "us-east-1") -> None:
    """One or two things of every table in one account and region."""

    def to(service: str) -> Any:
        return aws.client(service, account, region)

    _network(to)
    _global(to, account, region)
    _compute(to, account)
    _data(to)
    _security(to, account)


def _network(to: Any) -> None:
    ec2 = to("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24")["Subnet"]["SubnetId"]
        for n in range(2)
    ]
    ec2.run_instances(
        ImageId="ami-12345678",
        MinCount=2,
        MaxCount=2,
        SubnetId=subnets[0],
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "wéb"}]}],
    )
    ec2.allocate_address(Domain="vpc")
    volume = ec2.create_volume(Size=1, AvailabilityZone=f"{ec2.meta.region_name}a")["VolumeId"]
    ec2.create_snapshot(VolumeId=volume)
    instance = ec2.describe_instances()["Reservations"][0]["Instances"][0]["InstanceId"]
    ec2.create_image(InstanceId=instance, Name="golden")
    to("elbv2").create_load_balancer(
        Name="front", Subnets=subnets, Tags=[{"Key": "tier", "Value": "web"}]
    )


def _global(to: Any, account: str, region: str) -> None:
    s3 = to("s3")
    for name in ("logs", "data"):
        bucket = f"{name}-{account}-{region}"
        where = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=bucket, **({} if region == "us-east-1" else where))
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "k", "Value": name}]})
    s3.put_bucket_policy(Bucket=f"data-{account}-{region}", Policy=POLICY)
    s3.put_bucket_encryption(
        Bucket=f"data-{account}-{region}",
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
    )
    s3.put_public_access_block(
        Bucket=f"data-{account}-{region}",
        PublicAccessBlockConfiguration={"BlockPublicAcls": True},
    )
    iam = to("iam")
    for user in ("ann", "bob"):
        iam.create_user(UserName=user, Tags=[{"Key": "team", "Value": "blue"}])
        iam.create_access_key(UserName=user)
    iam.create_role(RoleName="app", AssumeRolePolicyDocument=TRUST)
    iam.create_policy(PolicyName="read", PolicyDocument=POLICY, Tags=[{"Key": "a", "Value": "b"}])
    iam.create_group(GroupName="staff")
    zone = to("route53").create_hosted_zone(Name="example.com", CallerReference="1")
    to("route53").change_tags_for_resource(
        ResourceType="hostedzone",
        ResourceId=zone["HostedZone"]["Id"].split("/")[-1],
        AddTags=[{"Key": "zone", "Value": "yes"}],
    )
    organizations = to("organizations")
    organizations.create_organization(FeatureSet="ALL")
    organizations.create_account(AccountName="member", Email="member@example.com")


def _compute(to: Any, account: str) -> None:
    role = f"arn:aws:iam::{account}:role/app"
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("main.py", "def run(event, context): return 1")
    functions = to("lambda")
    functions.create_function(
        FunctionName="job",
        Runtime="python3.12",
        Role=role,
        Handler="main.run",
        Code={"ZipFile": code.getvalue()},
        Environment={"Variables": {"lower_case": "kept", "Upper": "kept"}},
        Tags={"cost": "low"},
    )
    functions.add_permission(
        FunctionName="job",
        StatementId="s",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
    )
    ecs = to("ecs")
    for cluster in ("one", "two"):
        ecs.create_cluster(clusterName=cluster, tags=[{"key": "env", "value": cluster}])
    ecs.register_task_definition(
        family="task",
        containerDefinitions=[{"name": "c", "image": "i", "memory": 64}],
    )
    for service in range(12):  # more than one describe takes
        ecs.create_service(
            cluster="one", serviceName=f"s{service:02}", taskDefinition="task", desiredCount=0
        )
    to("eks").create_cluster(
        name="kube", roleArn=role, resourcesVpcConfig={"subnetIds": []}, tags={"k": "v"}
    )
    to("ecr").create_repository(repositoryName="image", tags=[{"Key": "r", "Value": "1"}])


def _data(to: Any) -> None:
    rds = to("rds")
    rds.create_db_instance(
        DBInstanceIdentifier="db",
        DBInstanceClass="db.t3.small",
        Engine="postgres",
        MasterUsername="u",
        MasterUserPassword="password1",
        AllocatedStorage=10,
        Tags=[{"Key": "d", "Value": "b"}],
    )
    rds.create_db_cluster(
        DBClusterIdentifier="cluster",
        Engine="aurora-postgresql",
        MasterUsername="u",
        MasterUserPassword="password1",
    )
    dynamodb = to("dynamodb")
    for n in range(3):
        dynamodb.create_table(
            TableName=f"table{n}",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            Tags=[{"Key": "n", "Value": str(n)}],
        )
    to("sqs").create_queue(QueueName="queue", tags={"q": "1"}, Attributes={"DelaySeconds": "5"})
    topic = to("sns").create_topic(Name="topic", Tags=[{"Key": "t", "Value": "1"}])["TopicArn"]
    to("sns").subscribe(TopicArn=topic, Protocol="https", Endpoint="https://example.com")
    to("logs").create_log_group(logGroupName="/app", tags={"l": "g"})
    to("secretsmanager").create_secret(
        Name="secret", SecretString="s", Tags=[{"Key": "s", "Value": "1"}]
    )
    parameters = to("ssm")
    for n in range(60):  # more than one page of fifty
        parameters.put_parameter(Name=f"/p/{n:02}", Value="v", Type="String")


def _security(to: Any, account: str) -> None:
    to("kms").create_key(Tags=[{"TagKey": "key", "TagValue": "1"}])
    to("acm").request_certificate(DomainName="example.com", Tags=[{"Key": "c", "Value": "1"}])
    to("s3").create_bucket(Bucket=f"trail-{account}")
    trail = to("cloudtrail").create_trail(
        Name="trail", S3BucketName=f"trail-{account}", TagsList=[{"Key": "ct", "Value": "1"}]
    )
    to("cloudtrail").start_logging(Name=trail["TrailARN"])
    to("cloudwatch").put_metric_alarm(
        AlarmName="alarm",
        MetricName="m",
        Namespace="n",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        Dimensions=[{"Name": "d", "Value": "v"}],
        Tags=[{"Key": "al", "Value": "1"}],
    )
    topic = {"Resources": {"T": {"Type": "AWS::SNS::Topic"}}}
    to("cloudformation").create_stack(StackName="stack", TemplateBody=json.dumps(topic))
    config = to("config")
    config.put_configuration_recorder(
        ConfigurationRecorder={"name": "default", "roleARN": f"arn:aws:iam::{account}:role/app"}
    )
    to("guardduty").create_detector(Enable=True, Tags={"g": "d"})
