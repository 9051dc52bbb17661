"""Plugins are fetched from the Hub and from GitHub once, checked at every start, and told clearly if not."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from contracts.errors import Denied, InputError, NotFound, Permanent, Transient, Unreachable
from contracts.plugin import github, hub
from contracts.plugin.cache import Target
from contracts.plugin.plugin import Plugin, Surroundings
from contracts.plugin.program import running
from contracts.plugin.web import Web
from tests.fakes.plugins.hub import KEY, TEAM, Hub, zipped
from tests.fakes.plugins.programs import as_a_file

PROGRAM = b"#!/bin/sh\necho plugin\n"
CRM = Plugin("source", "crm", "acme/crm", "cloudquery", "v1.2.3")


@pytest.fixture
def there() -> Iterator[Hub]:
    with Hub() as found:
        yield found


class Fetching:
    """Fetches into one cache; how long was waited is kept, and not waited."""

    def __init__(self, there: Hub, home: Path) -> None:
        self.there, self.home = there, home
        self.waits: list[float] = []

    def around(self, key: str = "", **more: str) -> Surroundings:
        return Surroundings({**self.there.environment(key), **more}, home=self.home)

    def __call__(self, plugin: Plugin = CRM, key: str = "", **more: str) -> Path:
        fetched = hub.fetched if plugin.registry == "cloudquery" else github.fetched
        program = fetched(plugin, self.around(key, **more), Web(self.waits.append)).program
        assert program
        return program


@pytest.fixture
def fetch(there: Hub, tmp_path: Path) -> Fetching:
    return Fetching(there, tmp_path / "cache")


class TestFetching:
    def test_a_version_is_fetched_once_and_then_nobody_is_asked(self, there, fetch):
        there.publish("source", "crm", "v1.2.3", PROGRAM)
        first = fetch()
        assert first.read_bytes() == PROGRAM
        assert os.access(first, os.X_OK)
        asked = len(there.requests)
        assert asked == 3
        assert fetch() == first
        assert len(there.requests) == asked
        # Nothing else is left beside it.
        assert sorted(p.name for p in first.parent.iterdir()) == ["lock", "plugin", "plugin.json"]

    def test_it_runs(self, there, fetch):
        there.publish("source", "crm", "v1.2.3", as_a_file("little"))
        around = Surroundings({**os.environ, **there.environment()}, home=fetch.home)
        with running(CRM, around) as program:
            assert program.death() is None

    def test_a_program_that_was_changed_in_the_cache_is_fetched_again(self, there, fetch):
        there.publish("source", "crm", "v1.2.3", PROGRAM)
        program = fetch()
        program.write_bytes(b"#!/bin/sh\necho something else\n")
        assert fetch().read_bytes() == PROGRAM
        (program.parent / "plugin.json").write_text("{")
        assert fetch().read_bytes() == PROGRAM

    def test_workers_that_want_the_same_version_at_once_fetch_it_once(self, there, fetch):
        there.publish("source", "crm", "v1.2.3", PROGRAM * 100_000)
        with ThreadPoolExecutor(4) as pool:  # the lock is that of an open file, not of a process
            programs = list(pool.map(lambda _: fetch(), range(4)))
        assert {p.read_bytes() for p in programs} == {PROGRAM * 100_000}
        assert len([path for path, _ in there.requests if path.startswith("/files")]) == 1

    def test_a_download_that_breaks_off_is_begun_again(self, there, fetch):
        there.publish("source", "crm", "v1.2.3", PROGRAM * 1000)
        there.cut = 2
        assert fetch().read_bytes() == PROGRAM * 1000
        assert fetch.waits == [1.0, 2.0]

    def test_five_tries_are_enough(self, there, fetch):
        there.publish("source", "crm", "v1.2.3", PROGRAM)
        there.cut = 5
        with pytest.raises(Unreachable, match="broke off"):
            fetch()

    def test_what_is_not_what_the_hub_has_is_not_used(self, there, fetch):
        there.publish("source", "crm", "v1.2.3", PROGRAM).checksum = "0" * 64
        with pytest.raises(Unreachable, match="SHA-256"):
            fetch()
        assert not list(fetch.home.rglob("plugin"))

    def test_an_asset_may_be_a_redirection_which_is_followed_without_the_key(self, there, fetch):
        there.publish("source", "crm", "v1.2.3", PROGRAM).redirects = True
        assert fetch(key=KEY).read_bytes() == PROGRAM
        assert there.requests[-1] == ("/files/source-crm-v1.2.3.zip", "")

    def test_the_hub_may_fail_for_a_moment(self, there, fetch):
        there.publish("source", "crm", "v1.2.3", PROGRAM)
        there.failing = [503, 500]
        assert fetch().read_bytes() == PROGRAM
        assert fetch.waits == [0.5, 2.0]

    def test_a_cache_is_where_the_environment_says(self, there, tmp_path):
        there.publish("source", "crm", "v1.2.3", PROGRAM)
        for names, place in (
            ({"SHARDER_PLUGIN_CACHE": str(tmp_path / "a")}, tmp_path / "a"),
            ({"XDG_CACHE_HOME": str(tmp_path / "b")}, tmp_path / "b" / "sharder"),
            ({"HOME": str(tmp_path / "c")}, tmp_path / "c" / ".cache" / "sharder"),
        ):
            program = hub.fetched(CRM, Surroundings({**there.environment(), **names})).program
            assert program
            assert program.is_relative_to(place)

    def test_a_cache_that_cannot_be_written_is_told(self, there, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(Permanent, match="cannot be kept") as caught:
            hub.fetched(CRM, Surroundings(there.environment(), home=tmp_path / "file"))
        assert "SHARDER_PLUGIN_CACHE" in caught.value.hint


class TestWhoAsks:
    def test_a_private_plugin_is_fetched_with_the_key_through_its_team(self, there, fetch):
        there.publish("source", "crm", "v1.2.3", PROGRAM).private = True
        assert fetch(key=KEY).read_bytes() == PROGRAM
        assert there.requests[0] == ("/teams", KEY)
        assert there.requests[2][0].startswith(f"/teams/{TEAM}/plugins/")
        # The address of the file is signed; the key goes to nobody else.
        assert there.requests[-1][1] == ""

    def test_without_the_key_a_private_plugin_is_not_there(self, there, fetch):
        there.publish("source", "crm", "v1.2.3", PROGRAM).private = True
        there.releases["source", "crm", "v1.2.3"].private = True
        del there.releases["source", "crm", "v1.2.3"]
        with pytest.raises(NotFound, match="or it is private and CLOUDQUERY_API_KEY is not set"):
            fetch()

    def test_a_wrong_key_is_refused_with_what_to_do(self, there, fetch):
        there.publish("source", "crm", "v1.2.3", PROGRAM)
        with pytest.raises(Denied, match=r"401: no such key") as caught:
            fetch(key="wrong")
        assert "CLOUDQUERY_API_KEY" in caught.value.hint
        assert "wrong" not in str(caught.value)

    @pytest.mark.parametrize("teams", [[], ["a", "b"]])
    def test_a_key_belongs_to_one_team(self, there, fetch, teams):
        there.teams = teams
        with pytest.raises(Permanent, match=f"belongs to {len(teams)} teams"):
            fetch(key=KEY)

    def test_a_team_that_is_named_is_not_looked_up(self, there, fetch):
        there.publish("source", "crm", "v1.2.3", PROGRAM)
        fetch(key=KEY, _CQ_TEAM_NAME="mine")
        assert "/teams" not in [path for path, _ in there.requests]


class TestRefusals:
    def test_an_unknown_version_is_told_with_the_latest_one(self, there, fetch):
        there.publish("source", "crm", "v2.0.0", PROGRAM)
        with pytest.raises(NotFound, match=r"no version v1\.2\.3") as caught:
            fetch()
        assert "the latest one is v2.0.0" in caught.value.hint

    def test_too_many_questions_are_answered_with_when_to_ask_again(self, there, fetch):
        there.failing = [429]
        with pytest.raises(Transient, match="asked too often") as caught:
            fetch()
        assert caught.value.after_s == 7.0

    def test_a_hub_that_does_not_work_is_unreachable(self, there, fetch):
        there.failing = [500] * 3
        with pytest.raises(Unreachable, match="does not work at the moment"):
            fetch()

    def test_a_hub_that_is_not_there_is_unreachable(self, tmp_path):
        around = Surroundings({"CLOUDQUERY_API_URL": "http://127.0.0.1:9"}, home=tmp_path)
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9 does not answer"):
            hub.fetched(CRM, around, Web(lambda _: None))

    @pytest.mark.parametrize(
        ("facts", "told"),
        [({"protocols": [1, 2]}, "protocol 1, 2"), ({"supported_targets": ["plan9_mips"]}, "plan9_mips")],
    )  # fmt: skip
    def test_a_version_that_cannot_run_here_is_not_downloaded(self, there, fetch, facts, told):
        there.publish("source", "crm", "v1.2.3", PROGRAM, **facts)
        with pytest.raises(Permanent) as caught:
            fetch()
        assert told in str(caught.value)

    def test_an_address_that_is_none_of_the_web_is_not_opened(self, there, fetch, monkeypatch):
        there.publish("source", "crm", "v1.2.3", PROGRAM)
        monkeypatch.setattr(there, "url", "file:///etc")
        around = Surroundings(
            {"CLOUDQUERY_API_URL": f"http://127.0.0.1:{there._server.server_address[1]}"},
            home=fetch.home,
        )
        with pytest.raises(Permanent, match="no address of the web"):
            hub.fetched(CRM, around)

    def test_a_zip_without_the_program_says_what_it_has(self, there, fetch):
        release = there.publish("source", "crm", "v1.2.3", PROGRAM)
        release.archive = zipped(other=b"x")
        release.checksum = hashlib.sha256(release.archive).hexdigest()
        with pytest.raises(Permanent, match="has no plugin-crm") as caught:
            fetch()
        assert "other" in caught.value.hint

    @pytest.mark.parametrize(
        ("path", "version", "told"),
        [
            ("crm", "v1.2.3", "TEAM/NAME"),
            ("a/../b", "v1.2.3", "TEAM/NAME"),
            ("../x", "v1.2.3", "TEAM/NAME"),
            ("acme/crm", "", "which version"),
            ("acme/crm", "v1/../..", "which version"),
        ],
    )
    def test_no_path_and_no_version_leads_elsewhere(self, fetch, path, version, told):
        with pytest.raises(InputError, match=told):
            fetch(Plugin("source", "crm", path, "cloudquery", version))

    def test_a_plugin_that_the_machine_does_not_run_is_not_even_asked_for(self, there, fetch):
        around = fetch.around(SHARDER_ALLOWED_PLUGINS="other/*")
        with pytest.raises(Permanent, match="SHARDER_ALLOWED_PLUGINS"), running(CRM, around):
            raise AssertionError
        assert there.requests == []


class TestImages:
    def test_a_package_that_is_an_image_is_remembered_as_one(self, there, fetch):
        there.publish("source", "crm", "v1.2.3", package_type="docker")
        kept = hub.fetched(CRM, fetch.around(KEY))
        assert kept.image == "docker.cloudquery.io/acme/source-crm:v1.2.3"
        asked = len(there.requests)
        again = hub.fetched(CRM, fetch.around(KEY))
        image = hub.image(CRM, fetch.around(KEY), again)
        assert len(there.requests) == asked
        assert (image.user, image.password) == ("managedplugin", KEY)
        assert image.headers["X-Meta-User-Team-Name"] == TEAM
        assert KEY not in repr(image)

    def test_an_image_needs_a_team(self, there, fetch):
        there.publish("source", "crm", "v1.2.3", package_type="docker")
        with pytest.raises(Denied, match="teams only"):
            hub.fetched(CRM, fetch.around())


class TestGithub:
    OLD = Plugin("source", "old", "acme/old", "github", "v0.1.0")

    def path(self) -> str:
        return f"/acme/cq-source-old/releases/download/v0.1.0/cq-source-old_{Target.here()}.zip"

    def test_a_release_is_fetched_once_with_a_warning(self, there, fetch, caplog):
        there.files[self.path()] = zipped(**{"cq-source-old": PROGRAM})
        with caplog.at_level("WARNING", "sharder"):
            assert fetch(self.OLD).read_bytes() == PROGRAM
        assert "plugin_of_registry_github" in caplog.text
        assert fetch(self.OLD).read_bytes() == PROGRAM
        assert len(there.requests) == 1

    def test_cloudquerys_own_releases_are_in_one_repository(self, there, fetch):
        plugin = Plugin("destination", "x", "cloudquery/sqlite", "github", "v1.0.0")
        tag = "plugins-destination-sqlite-v1.0.0"
        path = f"/cloudquery/cloudquery/releases/download/{tag}/sqlite_{Target.here()}.zip"
        there.files[path] = zipped(**{"plugins/destination/sqlite": PROGRAM})
        assert fetch(plugin).read_bytes() == PROGRAM

    def test_a_release_that_is_not_there_says_where_it_was_looked_for(self, fetch):
        with pytest.raises(NotFound, match="cq-source-old/releases/download/v0") as caught:
            fetch(self.OLD)
        assert "registry: cloudquery" in caught.value.hint


def test_the_record_tells_where_a_program_came_from(there, fetch):
    there.publish("source", "crm", "v1.2.3", PROGRAM)
    facts = json.loads((fetch().parent / "plugin.json").read_text())
    assert facts["sha256"] == hashlib.sha256(PROGRAM).hexdigest()
    assert facts["from"] == there.url
