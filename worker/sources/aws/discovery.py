"""What only AWS can tell: the members of an organisation, account numbers, enabled regions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from contracts.errors import Denied, SharderError, Unreachable
from worker.sources.aws.accounts import Account, Principal, admin_principal
from worker.sources.aws.calls import Caller, Place
from worker.sources.aws.locked import Call, Paging
from worker.sources.aws.options import OrgOptions
from worker.sources.aws.outcomes import CallErrors
from worker.sources.aws.process import Process

_TOKENS = Paging(send=("NextToken",), take=("NextToken",))
_ACCOUNTS = Call(op="ListAccounts", path="Accounts[]", paging=_TOKENS)
_CHILDREN = Call(op="ListAccountsForParent", path="Accounts[]", paging=_TOKENS)
_UNITS = Call(op="ListOrganizationalUnitsForParent", path="OrganizationalUnits[]", paging=_TOKENS)
_ROOTS = Call(op="ListRoots", path="Roots[]", paging=_TOKENS)


@dataclass(frozen=True)
class Members:
    """Numbers of the active accounts, sorted. `gaps` says what could not be listed."""

    numbers: tuple[str, ...]
    gaps: tuple[str, ...] = ()


def members(org: OrgOptions, admin: Account, caller: Caller) -> Members:
    """Raises Denied or Unreachable if not one account could be listed."""
    place = Place(admin, admin.home)
    walk = _Walk(org, caller, place)
    found = {
        account["Id"]
        for account in walk.accounts()
        if account.get("State", account.get("Status")) == "ACTIVE"
    }
    if walk.gaps and not found:
        raise walk.error
    return Members(tuple(sorted(found - set(org.skip_member_accounts))), tuple(walk.gaps))


class _Walk:
    """The organisation's accounts, unit by unit where units were chosen."""

    def __init__(self, org: OrgOptions, caller: Caller, place: Place) -> None:
        self._org = org
        self._caller = caller
        self._place = place
        self.gaps: list[str] = []
        self.error: SharderError = Unreachable("the organisation was not asked")

    def accounts(self) -> Iterator[dict[str, str]]:
        org = self._org
        if not org.organization_units and not org.skip_organization_units:
            yield from self._all(_ACCOUNTS, {})
            return
        units = list(org.organization_units) or [r["Id"] for r in self._all(_ROOTS, {})]
        seen = set(org.skip_organization_units)
        while units:
            if (unit := units.pop()) in seen:
                continue
            seen.add(unit)
            yield from self._all(_CHILDREN, {"ParentId": unit})
            units += [u["Id"] for u in self._all(_UNITS, {"ParentId": unit})]

    def _all(self, call: Call, inputs: dict[str, str]) -> Iterator[dict[str, str]]:
        """All pages; what is denied is a gap, not the end of the walk."""
        token = None
        try:
            while True:
                page = self._caller.page(self._place, "organizations", call, inputs, token)
                yield from page.items
                if (token := page.token) is None:
                    return
        except CallErrors as error:
            what = f"organizations.{call.op} {inputs.get('ParentId', '')}".strip()
            self.gaps.append(f"{what}: {error}")
            self.error = failure(error, self._place, what, self._caller)


def number(account: Account, process: Process, caller: Caller) -> str:
    """The number of an account: its role's, or what AWS says of its credentials, asked once per process.

    A number that was only written down counts as long as AWS cannot be asked. Raises Denied or Unreachable.
    """
    if account.number and account.principal.roles:
        return account.number
    place = Place(account, account.home)
    try:
        with process.lock:
            if account.principal not in process.numbers:
                answer = caller.call(place, "sts", "GetCallerIdentity", {})
                process.numbers[account.principal] = str(answer["Account"])
            return process.numbers[account.principal]
    except CallErrors as error:
        if account.number:
            return account.number
        raise failure(error, place, "sts.GetCallerIdentity", caller) from error


def admin(org: OrgOptions, home: str, partition: str) -> Account:
    """The account that lists the organisation; its number is what a call says."""
    principal: Principal = admin_principal(org)
    return Account("", principal, home, partition)


def enabled_regions(account: Account, caller: Caller) -> tuple[str, ...]:
    """The regions that are enabled in an account, sorted."""
    answer = caller.call(Place(account, account.home), "ec2", "DescribeRegions", {})
    return tuple(sorted(r["RegionName"] for r in answer["Regions"]))


def failure(error: Exception, place: Place, what: str, caller: Caller) -> SharderError:
    """An error of discovery as one of ours, with what to do about it."""
    if isinstance(error, SharderError):
        return error
    ending = caller.ending(error, place, what)
    if ending.reason == "denied":
        return Denied(ending.message, "give the credentials that plan the run the right to call it")
    return Unreachable(ending.message)
