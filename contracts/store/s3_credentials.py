"""Whose credentials sign requests to S3: the environment's, a profile's, a role's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts.errors import Denied

ROLE_SESSION = "sharder"


@dataclass(frozen=True)
class Credentials:
    """Options of obstore's client; `session` is botocore's where boto3 has found them."""

    options: Mapping[str, Any] = field(default_factory=dict)
    region: str = ""
    session: Any = None


def of_environment(bucket: str, environment: Mapping[str, str]) -> Credentials:
    """Keys in variables, or else boto3's session (profiles, SSO, web identity) where boto3 is installed.

    Nothing found leaves obstore's own chain: container and instance. Raises Denied for an unusable profile.
    """
    if environment.get("AWS_ACCESS_KEY_ID"):
        names = {
            "access_key_id": "AWS_ACCESS_KEY_ID",
            "secret_access_key": "AWS_SECRET_ACCESS_KEY",
            "token": "AWS_SESSION_TOKEN",
        }
        return Credentials(
            {k: environment[name] for k, name in names.items() if environment.get(name)}
        )
    try:
        return of_session(bucket)
    except ImportError:
        return Credentials()


def of_session(
    bucket: str,
    profile: str = "",
    *,
    role_arn: str = "",
    role_session_name: str = "",
    external_id: str = "",
) -> Credentials:
    """boto3's chain, from a profile if one is named, and with a role assumed and renewed on top of it.

    Raises ImportError without boto3, Denied if the profile or the chain cannot be used.
    """
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        session = Session(profile=profile or None)
        if (found := session.get_credentials()) is None:
            if not profile and not role_arn:
                return Credentials()
            raise Denied(
                f"bucket '{bucket}': no AWS credentials were found "
                + (f"in the profile '{profile}'" if profile else f"to assume {role_arn}"),
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run under a role",
            )
        if role_arn:
            words = {
                "RoleSessionName": role_session_name or ROLE_SESSION,
                "ExternalId": external_id,
            }
            role = _Role(bucket, session, found, role_arn, {k: v for k, v in words.items() if v})
            session = Session(profile=profile or None)
            session.register_component("credential_provider", role)
        region = session.get_config_variable("region") or ""
        return Credentials(
            {"credential_provider": Boto3CredentialProvider(session)}, region, session
        )
    except BotoCoreError as error:
        raise Denied(f"bucket '{bucket}': no AWS credentials: {error}") from error


class _Role:
    """Where a session gets a role's credentials: assumed now, so that a refusal is said at once,
    and again before they end.
    """

    def __init__(
        self, bucket: str, session: Any, source: Any, arn: str, words: Mapping[str, str]
    ) -> None:
        from botocore.credentials import AssumeRoleCredentialFetcher, RefreshableCredentials
        from botocore.exceptions import ClientError

        fetcher = AssumeRoleCredentialFetcher(
            client_creator=session.create_client,
            source_credentials=source,
            role_arn=arn,
            extra_args=dict(words),
        )
        try:
            assumed = fetcher.fetch_credentials()
        except ClientError as error:
            raise Denied(
                f"bucket '{bucket}': the role {arn} cannot be assumed: {error}",
                "the role's trust policy must name these credentials, and the external id if it asks for one",
            ) from error
        self._credentials = RefreshableCredentials.create_from_metadata(
            metadata=assumed, refresh_using=fetcher.fetch_credentials, method="assume-role"
        )

    def load_credentials(self) -> Any:
        return self._credentials
