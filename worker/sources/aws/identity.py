"""Whether the credentials of a spec are accepted: who AWS says that they are, and which role refuses."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from contracts.errors import Denied, SharderError, Unreachable
from worker.sources.aws import accounts, discovery, process
from worker.sources.aws.accounts import Account
from worker.sources.aws.calls import Caller, Place
from worker.sources.aws.options import Options, OrgOptions
from worker.sources.aws.outcomes import CallErrors
from worker.sources.base import Context

MEMBERS = 20  # of an organisation that are asked
_TOLD = 5  # refusals that are written out
_RETRIES = 1  # who tests a connection wants an answer now


def test(options: Options, context: Context) -> str:
    """A phrase about who answered. Raises Denied or Unreachable, naming the roles that do not."""
    options = options.model_copy(update={"max_retries": _RETRIES})
    caller = process.of(options, context).caller(options, context)
    if options.org is None:
        return _each(accounts.listed(options), caller, "")
    return _organisation(options, options.org, caller)


def _organisation(options: Options, org: OrgOptions, caller: Caller) -> str:
    home = accounts.member(options, org, "")
    admin = discovery.admin(org, home.home, home.partition)
    own = _identity(admin, caller)
    members = discovery.members(org, admin, caller)
    others = (n for n in members.numbers if n != own)
    chosen = [accounts.member(options, org, n) for n in islice(others, MEMBERS)]
    total = len(members.numbers)
    gaps = f"; not all could be listed: {members.gaps[0]}" if members.gaps else ""
    return _each(chosen, caller, f"organisation of {total:,} accounts, asked as {own}; ") + gaps


def _each(found: Sequence[Account], caller: Caller, before: str) -> str:
    numbers: list[str] = []
    errors: list[SharderError] = []
    for account in found:
        try:
            numbers.append(_identity(account, caller))
        except SharderError as error:
            errors.append(error)
    if not errors:
        shown = ", ".join(numbers[:_TOLD]) + (", …" if len(numbers) > _TOLD else "")
        return f"{before}{len(numbers)} accounts answered: {shown}" if shown else before
    told = [e.message for e in errors[:_TOLD]]
    told += [f"and {len(errors) - _TOLD} more"] if len(errors) > _TOLD else []
    text = f"{before}{len(errors)} of {len(found)} accounts failed: {'; '.join(told)}"
    first = errors[0]
    kind = type(first) if isinstance(first, Denied | Unreachable) else Denied
    raise kind(text, first.hint) from first


def _identity(account: Account, caller: Caller) -> str:
    """The number of the account that the credentials belong to."""
    roles = account.principal.roles
    what = f"sts.AssumeRole {roles[-1].arn}" if roles else "sts.GetCallerIdentity"
    place = Place(account, account.home)
    try:
        return str(caller.call(place, "sts", "GetCallerIdentity", {})["Account"])
    except CallErrors as error:
        raise discovery.failure(error, place, what, caller) from error
