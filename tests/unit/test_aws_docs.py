"""The reference page is generated, and says what the model and the lock say."""

import json

from worker.sources.aws import docs, iam


def test_the_page_is_what_is_generated():
    assert docs.PAGE.read_text("utf-8") == docs.page(), "run `python -m worker.sources.aws.docs`"


def test_the_policy_of_chosen_tables_is_printed(capfdbinary):
    assert iam.main(["aws_ec2_vpcs"]) == 0
    policy = json.loads(capfdbinary.readouterr().out)
    assert policy["Statement"][0]["Action"] == ["ec2:DescribeVpcs"]


def test_a_table_that_does_not_exist_is_named(capfd):
    assert iam.main(["aws_ec2_vpc"]) == 2
    assert "aws_ec2_vpc" in capfd.readouterr().err
