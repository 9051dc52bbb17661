"""Opening a container of Azure Blob Storage: which account, whose credentials, which endpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any

from contracts.errors import InputError, missing_extra
from contracts.store.client import Bucket, client_options, may_use_http, retries
from contracts.store.failures import Terms, unusable

TERMS = Terms(
    noun="container",
    service="Azure",
    absent=frozenset({"ContainerNotFound"}),
    refused=frozenset(
        {"AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"}
    ),
    expired=frozenset({"ExpiredAuthenticationToken"}),
    elsewhere=frozenset(),
    exists=frozenset({"BlobAlreadyExists"}),
    hints={
        "absent": "create it, or correct its name and the account's",
        "refused": "check AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_CONNECTION_STRING or the AZURE_CLIENT_… "
        "variables, or run: az login",
        "expired": "renew them, for example with: az login",
        "elsewhere": "correct the endpoint",
        "none": "set AZURE_STORAGE_ACCOUNT_KEY or the AZURE_CLIENT_… variables, run: az login, or run "
        "under a workload or managed identity",
        "rights": "they need the role 'Storage Blob Data Contributor' on the container",
        "silent": "check the account's name, the network, and AZURE_STORAGE_ENDPOINT if it is set",
    },
    tails=False,
)
FORM = "write az://account/container/prefix"
_ABFS = re.compile(r"abfss?://(?P<container>[^@/]+)@(?P<account>[^./]+)\.[^/]+(?:/(?P<prefix>.*))?")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")

# obstore's option → the variables, in the order in which they are looked at.
_VARIABLES = {
    "account_key": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCESS_KEY"),
    "sas_key": ("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"),
    "token": ("AZURE_STORAGE_TOKEN",),
    "client_id": ("AZURE_CLIENT_ID",),
    "client_secret": ("AZURE_CLIENT_SECRET",),
    "tenant_id": ("AZURE_TENANT_ID",),
    "federated_token_file": ("AZURE_FEDERATED_TOKEN_FILE",),
    "msi_endpoint": ("IDENTITY_ENDPOINT", "AZURE_IDENTITY_ENDPOINT"),
    "authority_host": ("AZURE_AUTHORITY_HOST",),
    "credential_type": ("AZURE_CREDENTIAL_TYPE",),
}


@dataclass(frozen=True)
class Address:
    account: str
    container: str
    prefix: str

    @property
    def url(self) -> str:
        return f"az://{self.account}/{self.container}/{self.prefix}".rstrip("/")


def address(url: str) -> Address:
    """`az://account/container/prefix`, or Hadoop's `abfss://container@account.dfs.core.windows.net/prefix`."""
    if found := _ABFS.fullmatch(url):
        parts = (found["account"], found["container"], found["prefix"] or "")
    else:
        account, _, rest = url.removeprefix("az://").partition("/")
        container, _, prefix = rest.partition("/")
        parts = (account, container, prefix)
    account, container, prefix = parts
    if url.startswith("abfs") and not found:
        raise InputError(
            f"not an Azure URL: {url!r}",
            "write abfss://container@account.dfs.core.windows.net/prefix",
        )
    if not account or not container:
        raise InputError(f"no container in {url!r}", FORM)
    if not _ACCOUNT.fullmatch(account):
        raise InputError(f"{account!r} in {url!r} is not the name of a storage account", FORM)
    return Address(account, container, prefix.strip("/"))


def open_azure(url: str, environment: Mapping[str, str], patience_s: float) -> Bucket:
    """Credentials: the variables', or else of `az login` where the CLI is, or else a managed identity."""
    at = address(url)
    try:
        from obstore.exceptions import BaseError
        from obstore.store import AzureStore
    except ImportError as error:
        raise missing_extra("obstore", "azure", f"the store {at.url}") from error
    options = _options(at.account, environment)
    endpoint = str(options.get("endpoint", ""))
    try:
        client = AzureStore(
            at.container,
            prefix=at.prefix or None,
            account_name=at.account,
            client_options=client_options(
                http=may_use_http(endpoint, "AZURE_ALLOW_HTTP", environment)
            ),
            retry_config=retries(patience_s),
            **options,
        )
    except BaseError as error:
        raise unusable(error, TERMS, at.container) from error
    return Bucket(at.url, at.container, TERMS, client)


def _options(account: str, environment: Mapping[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {
        option: value
        for option, names in _VARIABLES.items()
        if (value := next((environment[n] for n in names if environment.get(n)), ""))
    }
    if endpoint := environment.get("AZURE_STORAGE_ENDPOINT") or environment.get("AZURE_ENDPOINT"):
        options["endpoint"] = endpoint
    if text := environment.get("AZURE_STORAGE_CONNECTION_STRING"):
        options |= connection_string(text, account)
    if not options.keys() - {"endpoint", "authority_host"} and _logged_in(environment):
        options["use_azure_cli"] = True
    return options


def connection_string(text: str, account: str) -> dict[str, str]:
    """What the portal's text says about this account; nothing if it is another account's."""
    fields = dict(f.partition("=")[::2] for f in text.split(";") if f.strip())
    if fields.get("AccountName", account) != account:
        return {}
    endpoint = fields.get("BlobEndpoint", "")
    if not endpoint and (suffix := fields.get("EndpointSuffix")):
        scheme = fields.get("DefaultEndpointsProtocol", "https")
        endpoint = f"{scheme}://{account}.blob.{suffix}"
    found = {
        "account_key": fields.get("AccountKey", ""),
        "sas_key": fields.get("SharedAccessSignature", ""),
        "endpoint": endpoint,
    }
    return {option: value for option, value in found.items() if value}


def _logged_in(environment: Mapping[str, str]) -> bool:
    """Whether `az` is there and somebody has used `az login`."""
    home = environment.get("AZURE_CONFIG_DIR") or str(Path(environment.get("HOME", "~")) / ".azure")
    return (
        bool(which("az", path=environment.get("PATH")))
        and (Path(home).expanduser() / "azureProfile.json").exists()
    )
