"""What an account of the estate has in each region: one function per area.

Everything is made through the public AWS API, so it is what a team could have built.
"""

from __future__ import annotations

import io
import json
import zipfile
from functools import cache

from examples.aws.place import SERVICES, Place, pairs, tagged


def network(place: Place) -> str:
    """One VPC with subnets, route tables and security groups; returns a subnet's id."""
    ec2 = place.client("ec2")
    vpc = ec2.create_vpc(
        CidrBlock="10.20.0.0/16", TagSpecifications=tagged("vpc", place.tags(f"{place.name}-main"))
    )["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(
            VpcId=vpc,
            CidrBlock=f"10.20.{i}.0/24",
            AvailabilityZone=f"{place.region}{'abc'[i % 3]}",
            TagSpecifications=tagged("subnet", place.tags(f"{place.name}-subnet-{i}")),
        )["Subnet"]["SubnetId"]
        for i in range(6)
    ]
    for i, subnet in enumerate(subnets[:3]):
        table = ec2.create_route_table(
            VpcId=vpc,
            TagSpecifications=tagged("route-table", place.tags(f"{place.name}-routes-{i}")),
        )["RouteTable"]["RouteTableId"]
        ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    for i in place.several(10):
        name = place.named(i)
        group = ec2.create_security_group(
            GroupName=name,
            Description=f"Traffic of {name}",
            VpcId=vpc,
            TagSpecifications=tagged("security-group", place.tags(name)),
        )["GroupId"]
        if i % 2:
            # Every seventh is open to the world: the finding that everybody looks for.
            source = "0.0.0.0/0" if i % 7 == 0 else "10.0.0.0/8"
            port = place.rng.choice((22, 80, 443, 5432, 8080))
            ec2.authorize_security_group_ingress(
                GroupId=group,
                IpPermissions=[
                    {
                        "IpProtocol": "tcp",
                        "FromPort": port,
                        "ToPort": port,
                        "IpRanges": [{"CidrIp": source}],
                    }
                ],
            )
    return str(subnets[0])


def compute(place: Place, subnet: str) -> None:
    """Instances (each brings a volume and a network interface), images, addresses, load balancers."""
    ec2 = place.client("ec2")
    for kind, usual in (("t3.medium", 6), ("m5.large", 4), ("c5.xlarge", 2)):
        count = len(place.several(usual))
        name = f"{place.name}-{kind}"
        made = ec2.run_instances(
            ImageId="ami-0a1b2c3d4e5f60718",
            InstanceType=kind,
            MinCount=count,
            MaxCount=count,
            SubnetId=subnet,
            TagSpecifications=tagged("instance", place.tags(name)),
        )["Instances"]
        image = ec2.create_image(InstanceId=made[0]["InstanceId"], Name=f"{name}-golden")
        ec2.create_tags(Resources=[image["ImageId"]], Tags=pairs(place.tags(name)))
    zone = f"{place.region}a"
    for i in place.several(8):
        name = f"{place.named(i)}-data"
        volume = ec2.create_volume(
            AvailabilityZone=zone,
            Size=place.rng.choice((20, 100, 500)),
            Encrypted=i % 3 > 0,
            VolumeType="gp3",
            TagSpecifications=tagged("volume", place.tags(name)),
        )["VolumeId"]
        for day in range(2):
            ec2.create_snapshot(
                VolumeId=volume,
                Description=f"{name}, day {day}",
                TagSpecifications=tagged("snapshot", place.tags(name)),
            )
    for i in place.several(2):
        ec2.allocate_address(
            Domain="vpc", TagSpecifications=tagged("elastic-ip", place.tags(place.named(i)))
        )
    for i in place.several(1):
        place.client("elbv2").create_load_balancer(
            Name=f"{place.name}-{i}",
            Subnets=[subnet],
            Type="network",
            Tags=pairs(place.tags(place.named(i))),
        )


def functions(place: Place) -> None:
    """Lambda functions; every third lets API Gateway call it."""
    client = place.client("lambda")
    for i in place.several(5):
        name = place.named(i)
        client.create_function(
            FunctionName=name,
            Runtime="python3.12",
            Role=f"arn:aws:iam::{place.account}:role/{place.name}-lambda",
            Handler="app.handler",
            Code={"ZipFile": package()},
            Environment={"Variables": {"STAGE": place.name}},
            Tags=place.tags(name),
        )
        if i % 3 == 0:
            client.add_permission(
                FunctionName=name,
                StatementId="gateway",
                Action="lambda:InvokeFunction",
                Principal="apigateway.amazonaws.com",
            )


@cache
def package() -> bytes:
    """The code of every function, zipped."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("app.py", date_time=(2024, 1, 1, 0, 0, 0))
        archive.writestr(entry, "def handler(event, context):\n    return event\n")
    return buffer.getvalue()


def containers(place: Place) -> None:
    """An ECS cluster with services, repositories, and Kubernetes where applications run."""
    ecs, ecr = place.client("ecs"), place.client("ecr")
    lower = {"key": "key", "value": "value"}
    cluster = ecs.create_cluster(
        clusterName=f"{place.name}-main", tags=pairs(place.tags("main"), **lower)
    )["cluster"]["clusterArn"]
    for i in place.several(3):
        name = place.named(i)
        ecs.register_task_definition(
            family=name, containerDefinitions=[{"name": "app", "image": name, "memory": 256}]
        )
        ecs.create_service(
            cluster=cluster,
            serviceName=name,
            taskDefinition=name,
            desiredCount=2,
            tags=pairs(place.tags(name), **lower),
        )
    for i in place.several(3):
        name = f"{place.name}/{SERVICES[i % len(SERVICES)]}-{i}"
        ecr.create_repository(repositoryName=name, tags=pairs(place.tags(name)))
    if place.name not in {"management", "security"}:
        place.client("eks").create_cluster(
            name=f"{place.name}-k8s",
            roleArn=f"arn:aws:iam::{place.account}:role/{place.name}-eks",
            resourcesVpcConfig={"subnetIds": []},
            tags=place.tags("k8s"),
        )


def databases(place: Place) -> None:
    """RDS instances and clusters, DynamoDB tables."""
    rds, dynamodb = place.client("rds"), place.client("dynamodb")
    for i in place.several(2):
        name = f"{place.name}-db-{i}"
        rds.create_db_instance(
            DBInstanceIdentifier=name,
            DBInstanceClass="db.t3.medium",
            Engine="postgres",
            AllocatedStorage=50,
            MasterUsername="admin",
            MasterUserPassword="not-a-real-one",
            StorageEncrypted=i % 2 == 0,
            Tags=pairs(place.tags(name)),
        )
    rds.create_db_cluster(
        DBClusterIdentifier=f"{place.name}-aurora",
        Engine="aurora-postgresql",
        MasterUsername="admin",
        MasterUserPassword="not-a-real-one",
        Tags=pairs(place.tags("aurora")),
    )
    for i in place.several(4):
        name = place.named(i)
        dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            Tags=pairs(place.tags(name)),
        )


def messaging(place: Place) -> None:
    """Queues and topics."""
    sqs, sns = place.client("sqs"), place.client("sns")
    for i in place.several(6):
        name = place.named(i)
        sqs.create_queue(QueueName=name, tags=place.tags(name))
    for i in place.several(3):
        name = place.named(i)
        sns.create_topic(Name=name, Tags=pairs(place.tags(name)))


def secrets(place: Place) -> None:
    """Keys, secrets, parameters and certificates."""
    kms, manager = place.client("kms"), place.client("secretsmanager")
    ssm, acm = place.client("ssm"), place.client("acm")
    for i in place.several(1):
        name = place.named(i)
        key = kms.create_key(Description=name, Tags=pairs(place.tags(name), "TagKey", "TagValue"))
        if i % 2 == 0:
            kms.enable_key_rotation(KeyId=key["KeyMetadata"]["KeyId"])
    for i in place.several(5):
        name = f"{place.name}/{SERVICES[i % len(SERVICES)]}/{i}"
        manager.create_secret(
            Name=name, SecretString="not-a-real-one", Tags=pairs(place.tags(name))
        )
    for i in place.several(10):
        name = f"/{place.name}/{SERVICES[i % len(SERVICES)]}/{i}"
        ssm.put_parameter(Name=name, Value=str(i), Type="String", Tags=pairs(place.tags(name)))
    if place.home:
        domain = f"{place.name}.example.com"
        acm.request_certificate(DomainName=domain, Tags=pairs(place.tags(domain)))


def observability(place: Place) -> None:
    """Alarms, log groups, a stack, and what a security team switches on in every region."""
    cloudwatch, logs = place.client("cloudwatch"), place.client("logs")
    for i in place.several(6):
        name = f"{place.named(i)}-errors"
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            MetricName="Errors",
            Namespace="AWS/Lambda",
            Statistic="Sum",
            Period=300,
            EvaluationPeriods=1,
            Threshold=float(place.rng.randrange(1, 50)),
            ComparisonOperator="GreaterThanThreshold",
            Tags=pairs(place.tags(name)),
        )
    for i in place.several(12):
        name = f"/aws/lambda/{place.named(i)}"
        logs.create_log_group(logGroupName=name, tags=place.tags(name))
    topic = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}
    place.client("cloudformation").create_stack(
        StackName=f"{place.name}-baseline",
        TemplateBody=json.dumps(topic),
        Tags=pairs(place.tags("baseline")),
    )
    place.client("guardduty").create_detector(Enable=True, Tags=place.tags("guardduty"))
    config = place.client("config")
    config.put_configuration_recorder(
        ConfigurationRecorder={
            "name": "default",
            "roleARN": f"arn:aws:iam::{place.account}:role/{place.name}-config",
            "recordingGroup": {"allSupported": True, "includeGlobalResourceTypes": place.home},
        }
    )
    bucket = f"{place.name}-audit-{place.account}"
    config.put_delivery_channel(DeliveryChannel={"name": "default", "s3BucketName": bucket})
    config.start_configuration_recorder(ConfigurationRecorderName="default")
    if place.home:
        trail = place.client("cloudtrail")
        made = trail.create_trail(
            Name="organisation", S3BucketName=bucket, TagsList=pairs(place.tags("trail"))
        )
        trail.start_logging(Name=made["TrailARN"])


def fill_region(place: Place) -> None:
    """What an account has in a region."""
    compute(place, network(place))
    for area in (functions, containers, databases, messaging, secrets, observability):
        area(place)
