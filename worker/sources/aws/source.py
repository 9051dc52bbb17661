"""The `aws` source: tables from the lock, clients from the spec or the organisation, rows from the engine.

Only the lock is read to list tables; botocore is imported when clients are asked for or read.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from contracts.errors import Denied, InputError, SharderError
from contracts.table import Table
from worker.sources.aws import accounts, locked
from worker.sources.aws.accounts import Account
from worker.sources.aws.clientlist import RegionMajor, parse
from worker.sources.aws.options import Options
from worker.sources.aws.regions import USUAL
from worker.sources.base import Clients, Context, Event, Facts, Work

if TYPE_CHECKING:
    from worker.sources.aws.calls import Caller, Place
    from worker.sources.aws.process import Process

_ASKED = 3  # accounts asked for the enabled regions before the usual ones are taken


@dataclass(frozen=True)
class Estate:
    """Who is read, as found when the run was planned."""

    numbers: tuple[str, ...]
    regional: RegionMajor
    gaps: tuple[str, ...]


class AwsSource:
    """Reads accounts of AWS."""

    def __init__(self, options: Options, context: Context) -> None:
        self._options = options
        self._context = context
        _check_regions(options)

    def tables(self) -> Sequence[Table]:
        """Tables whose calls are billed are there only with `use_paid_apis`."""
        paid = self._options.use_paid_apis
        return [t.table for t in locked.tables().values() if paid or not t.paid]

    def clients(self, table: Table) -> Clients:
        estate = self._estate
        mine = locked.tables()[table.name]
        why = "; ".join(estate.gaps)
        if mine.scope == "account":
            return Clients("accounts", estate.numbers, None, not why, why)
        absent = frozenset(locked.regions().absent.get(mine.service, ()))
        ranges = estate.regional.ranges(absent)
        return Clients("regions", estate.regional, ranges, not why, why)

    def read(self, work: Work, cursors: Mapping[str, str]) -> Iterator[Event]:
        del cursors  # no table of this source is incremental
        from worker.sources.aws.extract import events

        service = locked.tables()[work.top.name].service
        return events(
            work,
            lambda client: self._place(client, service),
            self._caller,
            threads=self._options.threads,
            clients_in_flight=self._context.max_clients_in_flight,
            flight=self._context.flight,
            cancelled=self._context.cancelled,
        )

    def facts(self, table: Table) -> Facts:
        known = locked.tables()[table.name]
        return Facts(known.actions, known.paid)

    def test(self) -> str:
        """GetCallerIdentity for every way to credentials, members of an organisation up to a number."""
        from worker.sources.aws import identity

        return identity.test(self._options, self._context)

    def close(self) -> None:
        """Sessions and clients stay: they belong to the process and serve its next shard."""

    @cached_property
    def _process(self) -> Process:
        from worker.sources.aws import process

        return process.of(self._options, self._context)

    @cached_property
    def _caller(self) -> Caller:
        return self._process.caller(self._options, self._context)

    @cached_property
    def _estate(self) -> Estate:
        found, gaps = self._accounts()
        groups: dict[tuple[str, ...], list[str]] = {}
        enabled: dict[str, tuple[str, ...]] = {}
        for account in found:
            asked = account.regions or tuple(self._options.regions) or ("*",)
            if "*" not in asked:
                regions = _of_partition(asked, account.partition)
            elif account.partition in enabled:
                regions = enabled[account.partition]
            else:
                regions, gap = self._enabled(account.partition, found)
                enabled[account.partition] = regions
                gaps += gap
            groups.setdefault(regions, []).append(account.number)
        lists = {tuple(numbers): regions for regions, numbers in groups.items()}
        return Estate(tuple(a.number for a in found), RegionMajor(lists), gaps)

    def _accounts(self) -> tuple[list[Account], tuple[str, ...]]:
        """The accounts with their numbers, each once, and what could not be found out."""
        from worker.sources.aws import discovery

        options = self._options
        if options.org is None:
            numbered = {self._number(a): a for a in self._listed}
            return [replace(a, number=n) for n, a in numbered.items()], ()
        members = discovery.members(options.org, self._admin, self._caller)
        found = [accounts.member(options, options.org, n) for n in members.numbers]
        return found, members.gaps

    def _enabled(
        self, partition: str, found: Sequence[Account]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Regions of a partition; its usual ones, and why, if the accounts asked may not list them."""
        from worker.sources.aws import discovery
        from worker.sources.aws.outcomes import CallErrors

        asked = [a for a in found if a.partition == partition][:_ASKED]
        gap = ""
        for account in [self._admin, *asked] if self._options.org is not None else asked:
            try:
                return discovery.enabled_regions(account, self._caller), ()
            except CallErrors as error:
                gap = f"enabled regions are unknown ({error}); only those of every account are read"
        known = locked.regions().partitions.get(partition, ())
        return tuple(r for r in known if r in USUAL.get(partition, known)), (gap,)

    def _place(self, client: str, service: str) -> Place:
        """Whom a client id of the plan means. Raises Denied or InputError if it is nobody's."""
        from worker.sources.aws.calls import Place

        number, region = parse(client)
        account = self._account(number)
        return Place(account, region or _home(account, service))

    def _account(self, number: str) -> Account:
        options = self._options
        if options.org is not None:
            if self._own_number == number:
                return replace(self._admin, number=number)
            return accounts.member(options, options.org, number)
        if found := self._by_role.get(number):
            return found
        for account in self._listed:
            if not account.principal.roles and self._number(account) == number:
                return replace(account, number=number)
        raise Denied(
            f"no credentials for the account {number}",
            "the worker's credentials or spec are not those with which the run was planned",
        )

    @cached_property
    def _listed(self) -> tuple[Account, ...]:
        return accounts.listed(self._options)

    @cached_property
    def _by_role(self) -> dict[str, Account]:
        return {a.number: a for a in self._listed if a.principal.roles}

    def _number(self, account: Account) -> str:
        from worker.sources.aws import discovery

        return discovery.number(account, self._process, self._caller)

    @cached_property
    def _admin(self) -> Account:
        from worker.sources.aws import discovery

        org = self._options.org
        assert org is not None
        home = accounts.member(self._options, org, "")
        return discovery.admin(org, home.home, home.partition)

    @cached_property
    def _own_number(self) -> str:
        """The organisation's own account: it has no role for itself, its credentials are used as they are."""
        try:
            return self._number(self._admin)
        except SharderError:
            return ""


def _home(account: Account, service: str) -> str:
    """Where an account's table without region is asked: at home, unless the service is not there."""
    absent = locked.regions().absent.get(service, ())
    if account.home not in absent:
        return account.home
    there = [r for r in locked.regions().partitions[account.partition] if r not in absent]
    return "us-east-1" if "us-east-1" in there or not there else there[0]


def _of_partition(regions: Sequence[str], partition: str) -> tuple[str, ...]:
    found = locked.regions()
    return tuple(r for r in dict.fromkeys(regions) if found.partition(r) == partition)


def _check_regions(options: Options) -> None:
    """Raises InputError for a region that no partition has: a slip of the pen must not look like an empty one."""
    known = [r for regions in locked.regions().partitions.values() for r in regions]
    asked = [*options.regions, *(r for a in options.accounts for r in a.regions)]
    asked += list(options.org.member_regions) if options.org else []
    for region in asked:
        if region not in known and region != "*":
            near = difflib.get_close_matches(region, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else "see the list of regions of AWS"
            raise InputError(f"there is no AWS region {region!r}", hint)
