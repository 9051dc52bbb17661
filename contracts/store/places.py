"""Buckets that are somebody's destination: named by options of a spec instead of a URL.

What the options ask for is done on every object: ACL, encryption, content type, a role's credentials.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from contracts.errors import InputError, missing_extra
from contracts.store.azure import open_azure
from contracts.store.base import Store
from contracts.store.client import Bucket, may_use_http, retries
from contracts.store.gcs import open_gcs
from contracts.store.objects import ObjectStore
from contracts.store.open import PATIENCE_S
from contracts.store.s3 import TERMS, connect, endpoint_of, region_of, virtual_host
from contracts.store.s3_credentials import Credentials, of_environment, of_session

SMALLEST_PIECE = 5 << 20  # S3 refuses smaller pieces of a multipart upload


@dataclass(frozen=True)
class S3Place:
    """A whole bucket; empty means: the environment or AWS's default decides."""

    bucket: str
    region: str = ""
    endpoint: str = ""
    skip_tls_verify: bool = False
    path_style: bool = False
    acl: str = ""  # a canned ACL: bucket-owner-full-control, …
    sse: str = ""  # AES256, aws:kms, aws:kms:dsse
    kms_key_id: str = ""
    content_type: str = ""
    local_profile: str = ""
    role_arn: str = ""
    role_session_name: str = ""
    external_id: str = ""
    max_retries: int = 3
    max_backoff_s: float = 30.0
    part_size: int = SMALLEST_PIECE
    debug: bool = False  # log every operation

    @property
    def own_credentials(self) -> bool:
        return bool(self.local_profile or self.role_arn)


@dataclass(frozen=True)
class GcsPlace:
    bucket: str
    service_account_key_json: str = ""


@dataclass(frozen=True)
class AzurePlace:
    account: str
    container: str


Place = S3Place | GcsPlace | AzurePlace


def open_place(place: Place, environment: Mapping[str, str]) -> Store:
    """Raises MissingExtra, InputError for options that cannot be meant, Denied for unusable credentials."""
    match place:
        case S3Place():
            return _open_s3(place, environment)
        case GcsPlace():
            url, key = f"gs://{place.bucket}", place.service_account_key_json
            return ObjectStore(open_gcs(url, environment, PATIENCE_S, service_account_key=key))
        case AzurePlace():
            url = f"az://{place.account}/{place.container}"
            return ObjectStore(open_azure(url, environment, PATIENCE_S))


def _open_s3(place: S3Place, environment: Mapping[str, str]) -> Store:
    if place.part_size < SMALLEST_PIECE:
        raise InputError(
            f"part_size is {place.part_size}, and S3 takes no pieces below {SMALLEST_PIECE} bytes",
            f"write part_size: {SMALLEST_PIECE} or more",
        )
    place = replace(
        place,
        endpoint=place.endpoint or endpoint_of(environment),
        region=place.region or region_of(environment),
    )
    bucket = Bucket(
        f"s3://{place.bucket}",
        place.bucket,
        TERMS,
        _client(place, environment),
        piece=place.part_size,
        attributes={"Content-Type": place.content_type} if place.content_type else {},
        debug=place.debug,
    )
    return ObjectStore(bucket, sender=_signing(place, environment) if place.acl else None)


def _client(place: S3Place, environment: Mapping[str, str]) -> Any:
    virtual = virtual_host(place.bucket, place.endpoint, path_style=place.path_style)
    encryption = {"server_side_encryption": place.sse, "sse_kms_key_id": place.kms_key_id}
    return connect(
        place.bucket,
        "",
        endpoint=place.endpoint,
        region=place.region,
        credentials=lambda: _credentials(place, environment),
        environment=environment,
        retry_config=retries(
            max(PATIENCE_S, place.max_backoff_s * place.max_retries),
            times=place.max_retries,
            pause_s=place.max_backoff_s,
        ),
        unverified=place.skip_tls_verify,
        virtual_hosted_style_request=virtual,
        **{option: value for option, value in encryption.items() if value},
    )


def _credentials(place: S3Place, environment: Mapping[str, str]) -> Credentials:
    if not place.own_credentials:
        return of_environment(place.bucket, environment)
    try:
        return of_session(
            place.bucket,
            place.local_profile,
            role_arn=place.role_arn,
            role_session_name=place.role_session_name,
            external_id=place.external_id,
        )
    except ImportError as error:
        raise _boto3_missing(place) from error


def _signing(place: S3Place, environment: Mapping[str, str]) -> Any:
    """A sender through boto3: obstore cannot sign the header of an ACL."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise _boto3_missing(place) from error
    from contracts.store.s3_writes import Boto3Sender

    may_use_http(place.endpoint, "AWS_ALLOW_HTTP", environment)
    if place.skip_tls_verify:
        # urllib3 warns at every request of what was asked for here.
        warnings.filterwarnings("ignore", "Unverified HTTPS request")
    found = _credentials(place, environment)
    names = {
        "aws_access_key_id": "access_key_id",
        "aws_secret_access_key": "secret_access_key",
        "aws_session_token": "token",
    }
    virtual = virtual_host(place.bucket, place.endpoint, path_style=place.path_style)
    client = boto3.Session(botocore_session=found.session).client(
        "s3",
        region_name=place.region or found.region or "us-east-1",
        endpoint_url=place.endpoint or None,
        verify=False if place.skip_tls_verify else None,
        config=Config(
            retries={"total_max_attempts": place.max_retries + 1, "mode": "standard"},
            connect_timeout=5,
            read_timeout=60,
            s3={"addressing_style": "virtual" if virtual else "path"},
        ),
        **{
            name: found.options[option] for name, option in names.items() if option in found.options
        },
    )
    headers = {
        "ACL": place.acl,
        "ContentType": place.content_type,
        "ServerSideEncryption": place.sse,
        "SSEKMSKeyId": place.kms_key_id,
    }
    return Boto3Sender(
        client, place.bucket, {k: v for k, v in headers.items() if v}, place.part_size
    )


def _boto3_missing(place: S3Place) -> Exception:
    what = "an ACL" if place.acl else "a profile or a role"
    return missing_extra("boto3", "s3", f"{what} for s3://{place.bucket}")
