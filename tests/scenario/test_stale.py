"""Which older rows a run removes, and which it must not: whole runs over an organisation of AWS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from contracts.errors import Exit
from tests.fakes import specs
from tests.fakes.aws import ROLE, AwsServer, Request, aws_server
from tests.fakes.contents import of_duckdb
from tests.fakes.fleet import Fleet

pytestmark = pytest.mark.timeout(180)

KEYS = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "x"}


class World:
    """An organisation whose accounts have users, and the runs that read them."""

    def __init__(self, aws: AwsServer, place: Path) -> None:
        self.aws, self._place = aws, place
        self._fleet = Fleet(place, {**KEYS, "AWS_EC2_METADATA_DISABLED": "true"})
        self._organizations = aws.client("organizations")
        self._organizations.create_organization(FeatureSet="ALL")
        self._root = self._organizations.list_roots()["Roots"][0]["Id"]

    def account(self, name: str, *users: str, unit: str = "") -> str:
        """A new member with these users; its number."""
        made = self._organizations.create_account(AccountName=name, Email=f"{name}@example.com")
        number = str(made["CreateAccountStatus"]["AccountId"])
        if unit:
            self._organizations.move_account(
                AccountId=number, SourceParentId=self._root, DestinationParentId=unit
            )
        for user in users:
            self.aws.client("iam", number).create_user(UserName=user)
        return number

    def unit(self, name: str) -> str:
        made = self._organizations.create_organizational_unit(ParentId=self._root, Name=name)
        return str(made["OrganizationalUnit"]["Id"])

    def dismiss(self, account: str, user: str) -> None:
        self.aws.client("iam", account).delete_user(UserName=user)

    def leave(self, account: str) -> None:
        self._organizations.remove_account_from_organization(AccountId=account)

    def write(
        self, *, org: dict[str, Any] | None = None, mode: str = "overwrite-delete-stale"
    ) -> None:
        found = {"member_role_name": ROLE, **(org or {})}
        options = {
            "org": found,
            "regions": ["us-east-1"],
            "custom_endpoint_url": self.aws.url,
            "max_retries": 0,
        }
        (self._place / "spec.yml").write_text(
            specs.spec(
                specs.aws(options, "aws_iam_users", "aws_ssm_parameters"),
                specs.duckdb(write_mode=mode),
            )
        )

    def submit(self, *words: str, expect: int = Exit.OK) -> str:
        return self._fleet.sharder("submit", "spec.yml", *words, expect=expect).said

    def retry(self, run: str, expect: int = Exit.OK) -> str:
        return self._fleet.sharder("retry", run, expect=expect).said

    def authoritative(self, *words: str) -> set[bool]:
        """Whether the lists of clients would say who has departed."""
        out = self._fleet.sharder("plan", "spec.yml", "--json", *words).out
        return {orjson.loads(line)["authoritative"] for line in out.splitlines()}

    def users(self) -> dict[str, list[str]]:
        """Account → the users that the warehouse has, one entry per row."""
        found: dict[str, list[str]] = {}
        for row in of_duckdb(self._place / "w.duckdb")["aws_iam_users"]:
            found.setdefault(row["account_id"], []).append(row["user_name"])
        return {account: sorted(users) for account, users in found.items()}

    def parameters(self) -> list[str]:
        rows = of_duckdb(self._place / "w.duckdb")["aws_ssm_parameters"]
        return [row["name"] for row in rows]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with aws_server() as aws:
        yield World(aws, tmp_path)


def test_rows_of_departed_accounts_and_stale_rows_go_and_those_of_failing_accounts_stay(
    world: World,
) -> None:
    fine = world.account("fine", "ann", "bob")
    failing = world.account("failing", "cleo", "dora")
    departing = world.account("departing", "eve")
    world.write()
    world.submit()
    before = {fine: ["ann", "bob"], failing: ["cleo", "dora"], departing: ["eve"]}
    assert world.users() == before

    world.dismiss(fine, "bob")
    world.dismiss(failing, "dora")
    world.leave(departing)
    with world.aws.denied_role(failing):
        said = world.submit(expect=Exit.PARTIAL)
    assert f"denied ({failing}" in said
    assert world.users() == {fine: ["ann"], failing: ["cleo", "dora"]}

    world.submit()
    assert world.users() == {fine: ["ann"], failing: ["cleo"]}


def test_a_list_of_accounts_that_is_not_whole_says_nothing_about_those_that_it_lacks(
    world: World,
) -> None:
    seen, unseen = world.unit("seen"), world.unit("unseen")
    one = world.account("one", "ann", "bob", unit=seen)
    two = world.account("two", "cleo", "dora", unit=unseen)
    before = {one: ["ann", "bob"], two: ["cleo", "dora"]}
    units = {"organization_units": [seen, unseen]}
    world.write(org=units)
    world.submit()
    assert world.users() == before
    world.dismiss(one, "bob")
    world.dismiss(two, "dora")

    # Nothing can be listed: nothing is done.
    with world.aws.failing("organizations", "ListAccountsForParent", "AccessDeniedException"):
        said = world.submit(expect=Exit.OUTSIDE)
    assert "ListAccountsForParent" in said
    assert world.users() == before

    # The list is empty.
    world.write(org={**units, "skip_member_accounts": [one, two]})
    world.submit()
    assert world.users() == before

    # One unit cannot be listed: the accounts of the other are read, and only their rows change.
    world.write(org=units)

    def refuse(request: Request) -> tuple[int, str] | None:
        refused = request.op == "ListAccountsForParent" and unseen in request.body
        return (400, "AccessDeniedException") if refused else None

    with world.aws.rule(refuse):
        assert world.authoritative() == {False}
        world.submit()
    assert world.users() == {one: ["ann"], two: ["cleo", "dora"]}
    assert world.authoritative() == {True}


def test_a_narrowed_run_touches_nobody_else(world: World) -> None:
    one, two = world.account("one", "ann", "bob"), world.account("two", "cleo", "dora")
    gone = world.account("gone", "eve")
    world.write()
    world.submit()
    world.dismiss(one, "bob")
    world.dismiss(two, "dora")
    world.leave(gone)
    world.submit("--client", one)
    assert world.users() == {one: ["ann"], two: ["cleo", "dora"], gone: ["eve"]}


def test_a_retry_touches_only_what_had_failed(world: World) -> None:
    fine, failing = world.account("fine", "ann", "bob"), world.account("failing", "cleo", "dora")
    world.write()
    world.submit()
    with world.aws.denied_role(failing):
        world.submit("--run-id", "nightly", expect=Exit.PARTIAL)
    for account, user in ((fine, "bob"), (failing, "dora")):
        world.dismiss(account, user)
    gone = world.account("gone")
    world.leave(gone)
    said = world.retry("nightly")
    assert "round 2" in said
    assert world.users() == {fine: ["ann", "bob"], failing: ["cleo"]}
    assert "nothing to try again" in world.retry("nightly")


def test_a_cell_that_fails_on_its_last_page_leaves_no_row_and_retry_appends_each_row_once(
    world: World,
) -> None:
    one = world.account("one", "ann")
    names = [f"/p/{n:02}" for n in range(60)]  # fifty on the first page
    for name in names:
        world.aws.client("ssm", one).put_parameter(Name=name, Value="v", Type="String")
    world.write(mode="append")

    def refuse(request: Request) -> tuple[int, str] | None:
        last = request.op == "DescribeParameters" and "NextToken" in request.body
        return (400, "AccessDeniedException") if last else None

    with world.aws.rule(refuse):
        world.submit("--run-id", "nightly", expect=Exit.PARTIAL)
    assert world.parameters() == []
    users = world.users()
    assert users == {one: ["ann"]}
    with world.aws.rule(refuse):
        world.retry("nightly", expect=Exit.OUTSIDE)
    assert (world.parameters(), world.users()) == ([], users)
    world.retry("nightly")
    assert (sorted(world.parameters()), world.users()) == (names, users)
