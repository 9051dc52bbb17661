"""Plugins are split by what their own options list: one client, and one document, per account."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InputError
from contracts.specfile import load
from contracts.table import Column, Table
from sharder.planner import plan_round
from worker.sources.base import Clients
from worker.sources.plugin.accounts import KNOWN, Split, Whole, look, split

DOCUMENTS = Path(__file__).parents[1] / "golden" / "accounts"
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
THINGS = Table("things", (Column("id", pa.string(), primary_key=True),))

CELLS = {
    "aws": ["production", "012345678901"],
    "gcp": ["shop-live", "shop-test", "data"],
    "azure": [
        "6f2c2d3a-0000-4000-8000-000000000001",
        "6f2c2d3a-0000-4000-8000-000000000002",
    ],
    "k8s": ["arn:aws:eks:eu-west-1:111111111111:cluster/live", "kind-local"],
    "github": ["org:acme", "org:globex", "repo:initech/printer", "repo:initech/stapler"],
}


UNUSED = dict.fromkeys(("EXTERNAL_ID", "GCP_KEY", "GITHUB_TOKEN"), "of-no-use")


def documented(name):
    return load([DOCUMENTS / f"{name}.yml"], UNUSED, NOW)


class Listed:
    """A source whose clients are those of its options."""

    def __init__(self, name):
        self._source = documented(name).spec.source("estate")

    def tables(self):
        return [THINGS]

    def clients(self, table):
        found = split(self._source.path, self._source.spec)
        return Clients(found.list, found.clients)

    def read(self, work, cursors):
        raise AssertionError("planning reads no rows")

    def close(self):
        pass


@pytest.mark.parametrize("name", CELLS)
def test_a_documented_spec_is_planned_into_a_cell_per_account_without_credentials(name):
    found = plan_round(documented(name), {"estate": Listed(name)}, run="r", now=NOW, cursors={})
    assert list(found.clients["estate"]) == CELLS[name]
    assert found.plan.cells == len(CELLS[name])
    assert found.plan.tables[0].authoritative


def options(name):
    return documented(name).spec.source("estate").spec


def test_the_options_of_a_client_hold_its_entries_and_all_else_as_it_was():
    spec = options("aws")
    found = split("cloudquery/aws", spec)
    first, second, third = spec["accounts"]
    assert found.spec_for("production") == {**spec, "accounts": [first, third]}
    assert found.spec_for("012345678901") == {**spec, "accounts": [second]}
    assert first["external_id"] == "of-no-use"


def test_a_client_of_one_list_empties_the_others():
    spec = options("github")
    found = split("cloudquery/github", spec)
    assert found.spec_for("org:acme") == {**spec, "orgs": ["acme"], "repos": []}
    assert found.spec_for("repo:initech/stapler") == {
        **spec,
        "orgs": [],
        "repos": ["initech/stapler"],
    }


def test_a_list_that_is_not_there_stays_away():
    found = split("cloudquery/github", {"orgs": ["acme", "globex"]})
    assert found.spec_for("org:acme") == {"orgs": ["acme"]}


def test_a_client_that_is_none_is_an_error():
    with pytest.raises(KeyError):
        split("cloudquery/gcp", {"project_ids": ["a"]}).spec_for("b")


@pytest.mark.parametrize(
    ("path", "spec", "why"),
    [
        ("cloudquery/aws", {}, "its options have no list accounts[].id"),
        ("cloudquery/aws", {"accounts": []}, "its options have no list accounts[].id"),
        ("cloudquery/aws", {"accounts": None}, "its options have no list accounts[].id"),
        ("cloudquery/aws", {"org": {"member_role_name": "r"}}, "its option 'org' decides whom it asks"),
        ("cloudquery/aws", {"accounts": "${ACCOUNTS}"}, "'accounts' in its options is no list"),
        ("cloudquery/aws", {"accounts": [{"role_arn": "r"}]}, "an entry of accounts[].id in its options is no name"),
        ("cloudquery/aws", {"accounts": ["a"]}, "an entry of accounts[].id in its options is no name"),
        ("cloudquery/gcp", {"project_ids": [True]}, "an entry of project_ids[] in its options is no name"),
        ("cloudquery/gcp", {"project_ids": ["${P}"]}, "'${P}' of project_ids[] in its options is filled in elsewhere"),
        ("cloudquery/gcp", {"project_ids": ["a"], "folder_ids": ["folders/1"]}, "its option 'folder_ids' decides whom it asks"),
        ("cloudquery/gcp", {"project_ids": ["a"], "project_filter": "name:a*"}, "its option 'project_filter' decides whom it asks"),
        ("cloudquery/k8s", {"contexts": ["*"]}, "'*' of contexts[] in its options is filled in elsewhere"),
        ("cloudquery/k8s", {}, "its options have no list contexts[]"),
        ("cloudquery/github", {"orgs": ["acme"], "repos": ["acme/x"]}, "'acme' in its options is also part of an entry of another list"),
        ("cloudquery/github", {}, "its options have no list orgs[] or repos[]"),
        ("cloudquery/gitlab", {"base_url": "x"}, "it is not known where its options list its clients"),
        ("acme/aws", {"accounts": [{"id": "1"}]}, "it is not known where its options list its clients"),
        ("/opt/plugins/aws", {"accounts": [{"id": "1"}]}, "it is not known where its options list its clients"),
    ],
)  # fmt: skip
def test_a_plugin_that_finds_its_accounts_by_itself_is_left_whole(path, spec, why):
    assert look(path, spec) == Whole(why)
    assert split(path, spec) is None


def test_an_organisation_without_a_repository_of_its_own_is_split_from_the_others():
    found = split("cloudquery/github", {"orgs": ["acme"], "repos": ["acme-labs/x"]})
    assert found.clients == ("org:acme", "repo:acme-labs/x")


@pytest.mark.parametrize(
    "path",
    ["cloudquery/gcp", "docker.example.com/cloudquery/source-gcp:v12.0.0", "cloudquery/cq-source-gcp"],
)  # fmt: skip
def test_a_plugin_is_known_by_its_path_and_by_its_image(path):
    assert split(path, {"project_ids": ["a"]}).clients == ("a",)


def test_an_account_number_without_quotes_is_its_digits():
    assert split("cloudquery/aws", {"accounts": [{"id": 123456789012}]}).clients == (
        "123456789012",
    )


@pytest.mark.parametrize(
    ("hint", "spec", "clients"),
    [
        ("tenants[]", {"tenants": ["a", "b"]}, ("a", "b")),
        ("tenants[].auth.name", {"tenants": [{"auth": {"name": "a"}}, {"auth": {"name": "b"}}]}, ("a", "b")),
        ("api.v2.teams[].id", {"api": {"v2": {"teams": [{"id": 7}]}}}, ("7",)),
        ("team:teams[], user:users[]", {"teams": ["a"], "users": ["a"]}, ("team:a", "user:a")),
    ],
)  # fmt: skip
def test_the_fleet_document_says_where_the_clients_of_any_plugin_stand(hint, spec, clients):
    found = split("/opt/plugin", spec, hint)
    assert found.clients == clients
    assert found.spec_for(clients[0])


def test_a_hint_overrides_what_is_known_of_a_plugin():
    spec = {"accounts": [{"id": "a", "account_name": "b"}], "org": {"member_role_name": "r"}}
    assert split("cloudquery/aws", spec, "accounts[].account_name").clients == ("b",)
    assert look("cloudquery/aws", {"accounts": [{"id": "a"}]}, "none") == Whole(
        "the fleet document says that it is never split"
    )


@pytest.mark.parametrize(
    "hint", ["accounts", "accounts[].", "[]", "a[] b[]", "a[].b[].c", "a[], a[].b", "a.[]"]
)
def test_a_hint_that_cannot_be_read_is_an_error_that_shows_the_form(hint):
    with pytest.raises(InputError, match="clients of a plugin"):
        split("/opt/plugin", {"a": ["x"]}, hint)


def test_the_places_of_all_known_plugins_can_be_read():
    for name in KNOWN:
        assert isinstance(look(f"cloudquery/{name}", {}), Whole)


def test_the_design_page_lists_what_is_known():
    page = (Path(__file__).parents[2] / "docs/design/plugin-clients.md").read_text()
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| ")][2:]
    said = {row[1].strip(): row[2].strip().strip("`") for row in rows}
    assert said == {name: known.places for name, known in KNOWN.items()}
    for name, known in KNOWN.items():
        (whole,) = (row[3] for row in rows if row[1].strip() == name)
        assert all(f"`{option}`" in whole for option in known.alone)


NAMES = st.text(st.characters(exclude_characters="*?$\x00", exclude_categories=["Cs"]), min_size=1)
ACCOUNTS = st.lists(
    st.fixed_dictionaries({"id": NAMES, "secret": st.text()}), min_size=1, max_size=8
)
REST = st.dictionaries(st.sampled_from("xyz"), st.integers(), max_size=3)


@given(ACCOUNTS, REST)
def test_the_options_of_all_clients_together_are_the_list_and_nothing_else_changes(accounts, rest):
    spec = {"deep": {"accounts": accounts, "kept": 1}, **rest}
    found = split("any", spec, "deep.accounts[].id")
    assert isinstance(found, Split)
    cut = [found.spec_for(client) for client in found.clients]
    assert len(set(found.clients)) == len(found.clients)
    for client, mine in zip(found.clients, cut, strict=True):
        assert {a["id"] for a in mine["deep"]["accounts"]} == {client}
        assert {**mine, "deep": {**mine["deep"], "accounts": accounts}} == spec
    together = [id(a) for mine in cut for a in mine["deep"]["accounts"]]
    assert sorted(together) == sorted(map(id, accounts))
