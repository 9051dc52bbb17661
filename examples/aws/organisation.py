"""Who belongs to the simulated organisation, and the building of it inside this process.

The simulator's ids come from one seeded generator and everything is made by one thread, so two
estates with the same arguments are alike to the last id; only the times of creation differ.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from examples.aws.account import ASSUMABLE, fill_account
from examples.aws.place import Place
from examples.aws.region import fill_region

MANAGEMENT = "123456789012"  # moto's own account: whoever calls without an assumed role
ROLE = "OrganizationAccountAccessRole"
REGIONS = ("us-east-1", "eu-west-1", "ap-southeast-2")

# Name and how much lives there, relative to a middling account.
MEMBERS = (
    ("prod", 3.0),
    ("staging", 1.5),
    ("data", 2.0),
    ("security", 0.5),
    ("legacy", 1.0),
    ("sandbox", 0.7),
)


@dataclass(frozen=True)
class Plan:
    """What to build; accounts count the management account."""

    accounts: int = 6
    scale: float = 1.0
    seed: int = 7

    @property
    def weights(self) -> dict[str, float]:
        """Name → how much lives there; the management account first."""
        more = [(f"team-{i:03d}", 0.5) for i in range(len(MEMBERS) + 1, self.accounts)]
        members = [*MEMBERS, *more][: self.accounts - 1]
        return {name: weight * self.scale for name, weight in (("management", 0.5), *members)}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.weights)


@dataclass
class Api:
    """Clients shared by all accounts, as botocore's are slow to make; `account` is who calls."""

    account: str = MANAGEMENT
    _session: Any = None
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict)

    def client(self, service: str, region: str = REGIONS[0]) -> Any:
        if (service, region) not in self._clients:
            import boto3

            self._session = self._session or boto3.Session(
                aws_access_key_id="estate", aws_secret_access_key="estate"
            )
            client = self._session.client(service, region_name=region)
            client.meta.events.register("before-call", self._sign)
            self._clients[service, region] = client
        return self._clients[service, region]

    def _sign(self, params: dict[str, Any], **_: Any) -> None:
        params["headers"]["x-moto-account-id"] = self.account


def build(plan: Plan) -> dict[str, str]:
    """Fill moto's backends in this process; returns account id → name, the management account first."""
    with _simulated(plan.seed):
        api = Api()
        accounts = _accounts(api, plan)
        for account, name in accounts.items():
            api.account = account
            _fill(api, account, name, plan.weights[name], random.Random(f"{plan.seed} {name}"))
        return accounts


@contextmanager
def _simulated(seed: int) -> Iterator[None]:
    """Calls stay inside this process, and what they made stays when the context ends."""
    from moto import mock_aws
    from moto.moto_api._internal import mock_random

    mock_random.seed(seed)
    random.seed(seed)
    simulation = mock_aws()
    simulation.start()
    try:
        yield
    finally:
        simulation.stop(remove_data=False)


def _accounts(api: Api, plan: Plan) -> dict[str, str]:
    organizations = api.client("organizations")
    organizations.create_organization(FeatureSet="ALL")
    accounts = {MANAGEMENT: "management"}
    for name in plan.names[1:]:
        made = organizations.create_account(
            AccountName=name,
            Email=f"aws+{name}@example.com",
            RoleName=ROLE,
            Tags=[{"Key": "env", "Value": name}],
        )["CreateAccountStatus"]
        accounts[made["AccountId"]] = name
    return accounts


def _fill(api: Api, account: str, name: str, weight: float, rng: random.Random) -> None:
    first = Place(
        account=account,
        name=name,
        region=REGIONS[0],
        home=True,
        weight=weight,
        rng=rng,
        client=partial(api.client, region=REGIONS[0]),
    )
    if account == MANAGEMENT:
        # Members got theirs when the organisation made them.
        api.client("iam").create_role(RoleName=ROLE, AssumeRolePolicyDocument=ASSUMABLE)
    fill_account(first, REGIONS)
    for region in REGIONS:
        place = replace(
            first,
            region=region,
            home=region == REGIONS[0],
            client=partial(api.client, region=region),
        )
        fill_region(place)
