"""Opening a bucket of Google Cloud Storage: whose credentials, which endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.errors import InputError, missing_extra
from contracts.store.client import Bucket, client_options, may_use_http, retries
from contracts.store.failures import Terms, unusable

TERMS = Terms(
    noun="bucket",
    service="Google",
    absent=frozenset({"NoSuchBucket"}),
    refused=frozenset({"InvalidSecurity", "SignatureDoesNotMatch", "AuthenticationRequired"}),
    expired=frozenset({"ExpiredToken"}),
    elsewhere=frozenset(),
    exists=frozenset(),
    hints={
        "absent": "create it, or correct its name",
        "refused": "check GOOGLE_APPLICATION_CREDENTIALS, or run: gcloud auth application-default login",
        "expired": "renew them, for example with: gcloud auth application-default login",
        "elsewhere": "correct the endpoint",
        "none": "set GOOGLE_APPLICATION_CREDENTIALS to a service account's file, run: gcloud auth "
        "application-default login, or run under a service account",
        "rights": "they need storage.objects.get, create, delete and list (roles/storage.objectUser)",
        "silent": "check the network, and STORAGE_EMULATOR_HOST if the store is an emulator",
    },
)
# obstore's option → the variable. Of one service account's file and its text, one may be given.
_VARIABLES = {
    "service_account_key": "GOOGLE_SERVICE_ACCOUNT_KEY",
    "service_account": "GOOGLE_SERVICE_ACCOUNT",
    "application_credentials": "GOOGLE_APPLICATION_CREDENTIALS",
}


def open_gcs(
    url: str, environment: Mapping[str, str], patience_s: float, *, service_account_key: str = ""
) -> Bucket:
    """`gs://bucket/prefix`. Credentials: a service account's, or Google's application default."""
    name, _, prefix = url.removeprefix("gs://").partition("/")
    prefix = prefix.strip("/")
    if not name:
        raise InputError(f"no bucket in {url!r}", "write gs://bucket/prefix")
    try:
        from obstore.exceptions import BaseError
        from obstore.store import GCSStore
    except ImportError as error:
        raise missing_extra("obstore", "gcs", f"the store gs://{name}") from error
    endpoint = _endpoint(environment)
    options = _credentials(environment, service_account_key)
    if endpoint:
        options["base_url"] = endpoint
    if environment.get("STORAGE_EMULATOR_HOST"):
        # Any token does; without one obstore would still ask the metadata server before it writes.
        options = {"base_url": endpoint, "bearer_token": "emulator"}
    try:
        client = GCSStore(
            name,
            prefix=prefix or None,
            client_options=client_options(
                http=may_use_http(endpoint, "GOOGLE_ALLOW_HTTP", environment)
            ),
            retry_config=retries(patience_s),
            **options,
        )
    except BaseError as error:
        raise unusable(error, TERMS, name) from error
    return Bucket(f"gs://{name}/{prefix}".rstrip("/"), name, TERMS, client)


def _endpoint(environment: Mapping[str, str]) -> str:
    """Google's, unless variables say otherwise; the emulator's is often written without its scheme."""
    if emulator := environment.get("STORAGE_EMULATOR_HOST", ""):
        return emulator if "://" in emulator else f"http://{emulator}"
    return environment.get("GOOGLE_BASE_URL", "")


def _credentials(environment: Mapping[str, str], service_account_key: str) -> dict[str, Any]:
    """The first that is given; none leaves obstore's own: gcloud's file, then the metadata server."""
    if service_account_key:
        return {"service_account_key": service_account_key}
    for option, variable in _VARIABLES.items():
        if value := environment.get(variable):
            return {option: value}
    return {}
