"""Which account is asked with which credentials, as far as the spec tells it: no call is made here."""

from __future__ import annotations

from dataclasses import dataclass, field

from worker.sources.aws.locked import regions
from worker.sources.aws.options import AccountOptions, Options, OrgOptions, PrincipalOptions

SESSION_NAME = "sharder"


@dataclass(frozen=True)
class Principal:
    """Credentials by description: a profile (or the default chain), and roles assumed one after another."""

    profile: str = ""
    roles: tuple[Role, ...] = ()


@dataclass(frozen=True)
class Role:
    arn: str
    external_id: str = ""
    session_name: str = SESSION_NAME


@dataclass(frozen=True)
class Account:
    """An account to read. Without a role only a call can tell its `number` (`discovery.number`)."""

    number: str
    principal: Principal
    home: str = "us-east-1"  # the region asked for what has no region
    partition: str = "aws"
    regions: tuple[str, ...] = field(default=())  # instead of the source's; `*`: all enabled


def listed(options: Options) -> tuple[Account, ...]:
    """The accounts of the spec, in its order; without any, the one of the default credentials."""
    if not options.accounts:
        home = options.custom_endpoint_signing_region
        return (Account("", Principal(), home, _partition(options, home)),)
    return tuple(_account(options, a) for a in options.accounts)


def member(options: Options, org: OrgOptions, number: str) -> Account:
    """A member of the organisation: its role, assumed with what its members trust."""
    admin = admin_principal(org)
    trusted = org.member_trusted_principal
    via = _principal(trusted) if trusted else admin
    home = (org.admin_account or PrincipalOptions()).default_region
    partition = _partition(options, home)
    role = Role(
        f"arn:{partition}:iam::{number}:role/{org.member_role_name}",
        org.member_external_id,
        org.member_role_session_name or SESSION_NAME,
    )
    return Account(
        number,
        Principal(via.profile, (*via.roles, role)),
        home,
        partition,
        tuple(org.member_regions),
    )


def admin_principal(org: OrgOptions) -> Principal:
    return _principal(org.admin_account) if org.admin_account else Principal()


def _account(options: Options, said: AccountOptions) -> Account:
    partition = _partition(options, said.default_region)
    if said.role_arn:
        partition = said.role_arn.split(":")[1]
    return Account(
        said.number,
        _principal(said),
        said.default_region,
        partition,
        tuple(said.regions),
    )


def _principal(said: AccountOptions | PrincipalOptions) -> Principal:
    if not said.role_arn:
        return Principal(said.local_profile)
    role = Role(said.role_arn, said.external_id, said.role_session_name or SESSION_NAME)
    return Principal(said.local_profile, (role,))


def _partition(options: Options, region: str) -> str:
    if options.custom_endpoint_url:
        return options.custom_endpoint_partition_id
    return regions().partition(region)
