"""Opening an S3 bucket: endpoint, region, TLS, and whose credentials sign the requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from contracts.errors import InputError, missing_extra
from contracts.store.client import Bucket, client_options, may_use_http, retries
from contracts.store.failures import Terms
from contracts.store.s3_credentials import Credentials, of_environment

TERMS = Terms(
    noun="bucket",
    service="AWS",
    absent=frozenset({"NoSuchBucket"}),
    refused=frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"}),
    expired=frozenset({"ExpiredToken", "RequestExpired", "TokenRefreshRequired"}),
    elsewhere=frozenset(
        {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraint"}
    ),
    exists=frozenset(),
    hints={
        "absent": "create it, or correct its name; with several accounts or regions, look at "
        "AWS_PROFILE, AWS_REGION and AWS_ENDPOINT_URL",
        "refused": "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile",
        "expired": "renew them, for example with: aws sso login",
        "elsewhere": "set AWS_REGION to the region of the bucket",
        "none": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run under a role",
        "rights": "they need s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket",
        "silent": "check the network, and AWS_ENDPOINT_URL if the store is not Amazon's",
    },
)


def open_s3(url: str, environment: Mapping[str, str], patience_s: float) -> Bucket:
    """`s3://bucket/prefix`. Raises MissingExtra, or Denied if boto3 finds a profile that it cannot use."""
    name, _, prefix = url.removeprefix("s3://").partition("/")
    prefix = prefix.strip("/")
    if not name:
        raise InputError(f"no bucket in {url!r}", "write s3://bucket/prefix")
    client = connect(
        name,
        prefix,
        endpoint=endpoint_of(environment),
        region=region_of(environment),
        credentials=lambda: of_environment(name, environment),
        environment=environment,
        retry_config=retries(patience_s),
    )
    return Bucket(f"s3://{name}/{prefix}".rstrip("/"), name, TERMS, client)


def endpoint_of(environment: Mapping[str, str]) -> str:
    return environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or ""


def region_of(environment: Mapping[str, str]) -> str:
    return environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or ""


def connect(
    bucket: str,
    prefix: str,
    *,
    endpoint: str,
    region: str,
    credentials: Callable[[], Credentials],
    environment: Mapping[str, str],
    retry_config: Any,
    unverified: bool = False,
    **more: Any,
) -> Any:
    """A client of obstore. Credentials are looked for once we know that the library is there."""
    try:
        from obstore.store import S3Store
    except ImportError as error:
        raise missing_extra("obstore", "s3", f"the store s3://{bucket}") from error
    http = may_use_http(endpoint, "AWS_ALLOW_HTTP", environment)
    found = credentials()
    if endpoint:
        # Both names: obstore reads the variables of the process itself, and prefers the second.
        more |= {"endpoint": endpoint, "aws_endpoint_url_s3": endpoint}
    return S3Store(
        bucket,
        prefix=prefix or None,
        region=region or found.region or "us-east-1",
        client_options=client_options(http=http, unverified=unverified),
        retry_config=retry_config,
        **found.options,
        **more,
    )


def virtual_host(bucket: str, endpoint: str, *, path_style: bool) -> bool:
    """Whether the bucket goes into the host name, as AWS's own clients decide it.

    An address has no subdomains, and the certificate of `*.host` covers no bucket with dots.
    """
    if path_style or "." in bucket:
        return False
    host = urlsplit(endpoint).hostname or ""
    try:
        ip_address(host)
    except ValueError:
        return host != "localhost"
    return False
