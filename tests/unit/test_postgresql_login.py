"""Tokens of AWS instead of a password."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from moto.server import ThreadedMotoServer

from contracts.errors import Denied, InputError
from loader.warehouses.postgresql_login import IamAuth, token

WHERE = {"host": "db.example", "port": "6543", "user": "loader"}


@pytest.fixture
def aws(monkeypatch, tmp_path):
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return monkeypatch


def parts(made):
    url = urlsplit(f"https://{made}")
    return url.netloc, {key: values[0] for key, values in parse_qs(url.query).items()}


@pytest.mark.usefixtures("aws")
def test_a_token_is_for_the_host_and_user_of_the_connection_string():
    place, signed = parts(token(IamAuth(region="eu-west-1"), WHERE))
    assert place == "db.example:6543"
    assert (signed["Action"], signed["DBUser"]) == ("connect", "loader")
    assert "/eu-west-1/rds-db/" in signed["X-Amz-Credential"]


@pytest.mark.usefixtures("aws")
def test_an_endpoint_of_its_own_wins():
    place, _ = parts(token(IamAuth(region="eu-west-1", endpoint="rds.example:5433"), WHERE))
    assert place == "rds.example:5433"
    place, _ = parts(token(IamAuth(region="eu-west-1", endpoint="rds.example"), WHERE))
    assert place == "rds.example:6543"


def test_a_role_is_assumed_first(aws):
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    try:
        _, port = server.get_host_and_port()
        aws.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{port}")
        role = "arn:aws:iam::123456789012:role/loader"
        auth = IamAuth(
            region="eu-west-1", role_arn=role, external_id="of-the-role", role_session_name="elt"
        )
        _, signed = parts(token(auth, WHERE))
    finally:
        server.stop()
    assert signed["X-Amz-Security-Token"]
    assert not signed["X-Amz-Credential"].startswith("AKIAIOSFODNN7EXAMPLE")


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("where", [{"host": "db.example"}, {"user": "loader"}])
def test_host_and_user_are_needed(where):
    with pytest.raises(InputError, match="needs the host and the user"):
        token(IamAuth(region="eu-west-1"), where)


@pytest.mark.usefixtures("aws")
def test_a_region_is_needed():
    with pytest.raises(InputError, match="does not know the region\n  write region: eu-west-1"):
        token(IamAuth(), WHERE)


def test_a_profile_that_is_not_there_is_told(aws):
    aws.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(Denied, match="nobody"):
        token(IamAuth(region="eu-west-1", local_profile="nobody"), WHERE)


def test_no_credentials_at_all_are_told(aws):
    aws.delenv("AWS_ACCESS_KEY_ID")
    aws.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Denied, match="finds no AWS credentials"):
        token(IamAuth(region="eu-west-1"), WHERE)
