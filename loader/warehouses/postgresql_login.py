"""Logging in to PostgreSQL with AWS credentials instead of a password: a token of RDS, made for each connection.

The token is signed here, without a call; it is valid for 15 minutes, and only to connect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.errors import Denied, InputError, missing_extra

if TYPE_CHECKING:
    import boto3


class IamAuth(BaseModel):
    """Log in with AWS credentials: the user of the connection_string needs the role `rds_iam`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service: Literal["rds"] = Field("rds", description="Whose tokens the server takes")
    region: str = Field("", description="Region of the database; default: that of the credentials")
    endpoint: str = Field(
        "", description="`host:port` that the token is for; default: the connection_string's"
    )
    local_profile: str = Field("", description="Profile in the shared credentials file")
    role_arn: str = Field("", description="Role to assume first")
    role_session_name: str = Field("", description="Session name that CloudTrail shows")
    external_id: str = Field("", description="External id that the role asks for")


def token(auth: IamAuth, where: Mapping[str, Any]) -> str:
    """The password for a connection; `where` has its host, port and user.

    Raises InputError for what is missing, Denied if there are no credentials or the role cannot be assumed.
    """
    host, _, port = (
        auth.endpoint.rpartition(":") if ":" in auth.endpoint else (auth.endpoint, "", "")
    )
    host, port = host or where.get("host", ""), port or where.get("port") or "5432"
    if not host or not where.get("user"):
        raise InputError(
            "aws_iam_auth needs the host and the user of the connection_string",
            "write for example postgresql://loader@db.example:5432/elt",
        )
    session = _session(auth)
    if not session.region_name:
        raise InputError("aws_iam_auth does not know the region", "write region: eu-west-1")
    if session.get_credentials() is None:
        raise Denied(
            "aws_iam_auth finds no AWS credentials",
            "set a profile, a role or the usual AWS variables",
        )
    client = session.client(auth.service)
    made: str = client.generate_db_auth_token(
        DBHostname=host, Port=int(port), DBUsername=where["user"]
    )
    return made


def _session(auth: IamAuth) -> boto3.Session:
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise missing_extra("boto3", "aws", "`aws_iam_auth` of destination 'postgresql'") from error
    try:
        session = boto3.Session(
            profile_name=auth.local_profile or None, region_name=auth.region or None
        )
        if not auth.role_arn:
            return session
        wanted = {
            "RoleArn": auth.role_arn,
            "RoleSessionName": auth.role_session_name or "sharder",
            **({"ExternalId": auth.external_id} if auth.external_id else {}),
        }
        given = session.client("sts").assume_role(**wanted)["Credentials"]
    except (BotoCoreError, ClientError) as error:
        raise Denied(f"aws_iam_auth: {error}", "check profile, role and external id") from error
    return boto3.Session(
        given["AccessKeyId"],
        given["SecretAccessKey"],
        given["SessionToken"],
        region_name=session.region_name,
    )
