"""The nested `spec` of an `aws` source: CloudQuery's keys, strict. Nothing heavy is imported here."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

_NUMBER = re.compile(r"\d{12}")
_ROLE = re.compile(r"arn:(aws[\w-]*):iam::(\d{12}):role/.+")
_UNIT = re.compile(r"(ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}|r-[0-9a-z]{4,32})")


def _text(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError(  # noqa: TRY004 pydantic shows ValueErrors to the user
            f"{value} is a number in YAML, which loses leading zeros: put the account id in quotes"
        )
    return value


AccountId = Annotated[str, BeforeValidator(_text)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AccountOptions(_Model):
    """One account, and how to get its credentials."""

    id: AccountId = Field(
        description="Account number, or a name of your own if `role_arn` tells it"
    )
    account_name: str = Field("", description="A name for people; it is not written anywhere")
    local_profile: str = Field("", description="Profile in the shared credentials file")
    role_arn: str = Field("", description="Role to assume in the account")
    role_session_name: str = Field("", description="Session name that CloudTrail shows")
    external_id: str = Field("", description="External id that the role asks for")
    default_region: str = Field("us-east-1", description="Region to ask for what has no region")
    regions: list[str] = Field([], description="Regions of this account instead of the source's")

    @field_validator("role_arn")
    @classmethod
    def _is_role(cls, value: str) -> str:
        if value and not _ROLE.fullmatch(value):
            raise ValueError(
                f"not the ARN of a role: {value!r}; write arn:aws:iam::NUMBER:role/NAME"
            )
        return value

    @property
    def number(self) -> str:
        """The account's number as far as the text tells it, or nothing."""
        if role := _ROLE.fullmatch(self.role_arn):
            return role[2]
        return self.id if _NUMBER.fullmatch(self.id) else ""


class PrincipalOptions(_Model):
    """Credentials of the organisation: those that list it, or those that members trust."""

    id: AccountId = Field("", description="Not needed; accepted as CloudQuery does")
    account_name: str = Field("", description="Not needed; accepted as CloudQuery does")
    local_profile: str = Field("", description="Profile in the shared credentials file")
    role_arn: str = Field("", description="Role to assume first")
    role_session_name: str = Field("", description="Session name that CloudTrail shows")
    external_id: str = Field("", description="External id that the role asks for")
    default_region: str = Field("us-east-1", description="Region to ask for what has no region")
    regions: list[str] = Field([], description="Not used; accepted as CloudQuery does")


class OrgOptions(_Model):
    """All active accounts of an organisation."""

    member_role_name: str = Field(
        min_length=1, description="Role to assume in every member account"
    )
    admin_account: PrincipalOptions | None = Field(
        None, description="Credentials that may list the organisation; default: the default chain's"
    )
    member_trusted_principal: PrincipalOptions | None = Field(
        None, description="Credentials that the member roles trust; default: the admin account's"
    )
    member_role_session_name: str = Field("", description="Session name that CloudTrail shows")
    member_external_id: str = Field("", description="External id that the member roles ask for")
    member_regions: list[str] = Field([], description="Regions instead of the source's")
    organization_units: list[str] = Field(
        [], description="Only accounts below these units (nested ones included); default: all"
    )
    skip_organization_units: list[str] = Field(
        [], description="Units left out, with all below them"
    )
    skip_member_accounts: list[AccountId] = Field([], description="Accounts left out")

    @field_validator("organization_units", "skip_organization_units")
    @classmethod
    def _are_units(cls, value: list[str]) -> list[str]:
        if wrong := [u for u in value if not _UNIT.fullmatch(u)]:
            raise ValueError(f"not an organisational unit: {wrong[0]!r}; ids begin with ou- or r-")
        return value


class Options(_Model):
    """The `spec` of a source whose path is `cloudquery/aws`."""

    regions: list[str] = Field([], description="Regions to read; none or `*`: all that are enabled")
    accounts: list[AccountOptions] = Field(
        [], description="Accounts to read; default: the account of the default credentials"
    )
    org: OrgOptions | None = Field(
        None, description="Read all accounts of an organisation; not together with `accounts`"
    )
    use_paid_apis: bool = Field(False, description="Offer the tables whose API calls AWS bills")
    max_retries: int = Field(
        6, ge=0, description="Retries of a call that is throttled or fails in between"
    )
    max_backoff: int = Field(
        20, ge=0, description="Accepted; waits between retries grow to 20 seconds at most"
    )
    custom_endpoint_url: str = Field("", description="One endpoint for all services (a simulator)")
    custom_endpoint_hostname_immutable: bool = Field(
        True, description="Leave the endpoint's host name as it is (no bucket names in it)"
    )
    custom_endpoint_partition_id: str = Field("aws", description="Partition of the custom endpoint")
    custom_endpoint_signing_region: str = Field(
        "us-east-1", description="Region asked for what has no region; regional calls keep theirs"
    )
    aws_debug: bool = Field(False, description="Log every call: account, region, operation, result")
    initialization_concurrency: int = Field(
        4, ge=1, description="Accepted; accounts need no set-up"
    )
    concurrency: int = Field(
        50_000, ge=1, description="Calls at once; a worker process makes 24 at most"
    )
    scheduler: Literal["dfs", "round-robin", "shuffle", "shuffle-queue"] = Field(
        "shuffle", description="Accepted; shards are packed by expected time"
    )
    use_nested_table_rate_limiter: bool = Field(
        False, description="Accepted; calls of nested tables are always limited"
    )
    table_options: dict[str, Any] = Field({}, description="Not supported")
    event_based_sync: dict[str, Any] = Field({}, description="Not supported")

    @field_validator("regions")
    @classmethod
    def _star_alone(cls, value: list[str]) -> list[str]:
        if "*" in value and len(value) > 1:
            raise ValueError("`*` means all regions and stands alone")
        if globs := [r for r in value if "*" in r and r != "*"]:
            raise ValueError(f"patterns are not supported: {globs[0]!r}; name the regions")
        return value

    @field_validator("table_options", "event_based_sync")
    @classmethod
    def _unsupported(cls, value: dict[str, Any]) -> dict[str, Any]:
        if value:
            raise ValueError("not supported; leave it out (all rows of the tables are read)")
        return value

    @model_validator(mode="after")
    def _one_kind_of_accounts(self) -> Options:
        if self.accounts and self.org:
            raise ValueError("`accounts` and `org` exclude each other; keep one of them")
        return self

    @property
    def threads(self) -> int:
        """Calls that one process makes at once: 32 threads give no more than 24 on one core."""
        return min(self.concurrency, 24)
