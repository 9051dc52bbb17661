"""Plugins of registry cloudquery: fetched from CloudQuery's Hub once, then taken from the cache.

CLOUDQUERY_API_KEY says who asks, CLOUDQUERY_API_URL whom (a mirror, a test). A version is described first:
its package is a program for some platforms, or an image, which then runs as one of registry docker.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.errors import Denied, InputError, NotFound, Permanent, Transient, Unreachable
from contracts.observe.log import event
from contracts.plugin import archive, cache
from contracts.plugin.cache import Kept, Slot, Target
from contracts.plugin.docker import Image
from contracts.plugin.plugin import Plugin, Surroundings
from contracts.plugin.web import Answer, Web

URL = "https://api.cloudquery.io"
IMAGES = "docker.cloudquery.io"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_VERSION = re.compile(r"v?\d[A-Za-z0-9.+-]*")
_OF_NO_TEAM = ("cqsr_", "cqstc_", "cqpd_")  # keys that CloudQuery's own platform gives out


@dataclass(frozen=True)
class Account:
    """Who asks: the key and the team that it belongs to; both empty for the public."""

    token: str = ""
    team: str = ""

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


def fetched(plugin: Plugin, around: Surroundings, web: Web | None = None) -> Kept:
    """The program or the image of a version, from the cache if it is there; then nobody is asked.

    Raises InputError for a path or version that is none, NotFound, Denied, Unreachable, Permanent.
    """
    team, name = names(plugin)
    target = Target.here()
    slot = cache.slot(plugin, around, target, team, name)
    if found := slot.found():
        return found
    with slot.locked(around.cancelled):
        return slot.found() or _Hub(plugin, around, web or Web()).fetch(slot, target)


def image(plugin: Plugin, around: Surroundings, kept: Kept) -> Image:
    """The image of a version, with what the Hub's registry of images wants to know. Nobody is asked."""
    token = around.environment.get("CLOUDQUERY_API_KEY", "").strip()
    if not token:
        return Image(kept.image)  # perhaps it is on this machine
    headers = {"X-Meta-Plugin-Version": plugin.version, "X-Meta-User-Team-Name": kept.team}
    return Image(kept.image, "managedplugin", token, headers)


def names(plugin: Plugin) -> tuple[str, str]:
    """Team and name. Raises InputError for what is no path or no version of the Hub."""
    team, _, name = plugin.path.partition("/")
    if not (_NAME.fullmatch(team) and _NAME.fullmatch(name)):
        raise InputError(
            f"{plugin}: a path of registry {plugin.registry} is TEAM/NAME",
            "write for example `path: cloudquery/aws`; a program of this machine has `registry: local`",
        )
    if not _VERSION.fullmatch(plugin.version):
        raise InputError(
            f"{plugin}: which version?", "write for example `version: v1.2.3`, as the Hub shows it"
        )
    return team, name


class _Hub:
    def __init__(self, plugin: Plugin, around: Surroundings, web: Web) -> None:
        self._plugin, self._web = plugin, web
        self._team, self._name = names(plugin)
        self._environment = around.environment
        self._url = around.environment.get("CLOUDQUERY_API_URL", URL).rstrip("/")
        self._account = self._who()

    @property
    def _at(self) -> str:
        return f"/plugins/{self._team}/{self._plugin.kind}/{self._name}"

    def fetch(self, slot: Slot, target: Target) -> Kept:
        facts = self._described()
        self._check(facts, target)
        if facts.get("package_type") == "docker":
            if not self._account.token or not self._account.team:
                raise Denied(
                    f"{self._plugin} is an image, which the Hub gives to teams only",
                    "set CLOUDQUERY_API_KEY, an API key of a team, where plugins are started",
                )
            return slot.keep_image(self._image(), self._account.team)
        location, checksum = self._asset(target)
        version = self._plugin.version
        with slot.beside() as directory:
            zipped = directory / "plugin.zip"
            digest = self._web.download(location, zipped)
            if not checksum:
                event("plugin_without_checksum", logging.WARNING, plugin=str(self._plugin))
            elif digest != checksum.lower():
                raise Unreachable(
                    f"{self._plugin}: what was downloaded is not what the Hub has (SHA-256 {digest},"
                    f" expected {checksum})",
                    "try again; is there a proxy that changes what it passes on?",
                )
            member = f"plugin-{self._name}-{version}-{target.os}-{target.arch}{target.suffix}"
            archive.extract(zipped, [member], directory / "plugin", str(self._plugin))
            kept = slot.keep(directory / "plugin", {"zip": digest, "from": self._url})
        event("plugin_fetched", plugin=self._plugin.path, version=version, program=kept.program)
        return kept

    def _described(self) -> dict[str, Any]:
        answer = self._ask(f"{self._at}/versions/{self._plugin.version}")
        if answer.status == 404:
            raise self._missing()
        return self._good(answer).json()

    def _missing(self) -> NotFound:
        """Which version there would be."""
        answer = self._ask(self._at)
        latest = answer.json().get("latest_version", "") if answer.status == 200 else ""
        if latest:
            return NotFound(
                f"{self._plugin}: the Hub has no version {self._plugin.version}",
                f"the latest one is {latest}",
            )
        private = (
            "" if self._account.token else ", or it is private and CLOUDQUERY_API_KEY is not set"
        )
        return NotFound(
            f"{self._plugin}: the Hub has no {self._plugin.kind} plugin of that name{private}",
            "is it written as on the Hub: TEAM/NAME?",
        )

    def _check(self, facts: Mapping[str, Any], target: Target) -> None:
        if facts.get("retracted"):
            event("plugin_retracted", logging.WARNING, plugin=str(self._plugin))
        protocols = facts.get("protocols")
        if protocols and 3 not in protocols:
            raise Permanent(
                f"{self._plugin} speaks the plugin protocol {', '.join(map(str, protocols))}; Sharder speaks 3",
                "use a newer version",
            )
        targets = facts.get("supported_targets")
        if facts.get("package_type") != "docker" and targets and str(target) not in targets:
            raise Permanent(
                f"{self._plugin} is not made for {target}",
                f"there are programs for {', '.join(targets)}",
            )

    def _asset(self, target: Target) -> tuple[str, str]:
        of_team = f"/teams/{self._account.team}" if self._account.team else ""
        path = f"{of_team}{self._at}/versions/{self._plugin.version}/assets/{target}"
        answer = self._ask(path, {"Accept": "application/json"})
        if answer.status in {301, 302, 303, 307, 308}:
            return answer.headers.get("location", ""), ""
        if answer.status == 404:
            raise NotFound(
                f"{self._plugin}: the Hub gives no program for {target}",
                "it may be private: is CLOUDQUERY_API_KEY that of its team?",
            )
        found = self._good(answer).json()
        return str(found.get("location", "")), str(found.get("checksum") or "")

    def _image(self) -> str:
        return f"{IMAGES}/{self._team}/{self._plugin.kind}-{self._name}:{self._plugin.version}"

    def _ask(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self._web.ask(self._url + path, {**self._account.headers, **(headers or {})})

    def _good(self, answer: Answer) -> Answer:
        return good(answer, str(self._plugin))

    def _who(self) -> Account:
        return account(self._environment, self._web)


def account(environment: Mapping[str, str], web: Web) -> Account:
    """The key and its team. Raises Denied if the key is none, Permanent if it has not one team."""
    token = environment.get("CLOUDQUERY_API_KEY", "").strip()
    team = environment.get("_CQ_TEAM_NAME", "").strip()
    if not token or team or token.startswith(_OF_NO_TEAM):
        return Account(token, team if token else "")
    url = environment.get("CLOUDQUERY_API_URL", URL).rstrip("/")
    answer = good(web.ask(f"{url}/teams", Account(token).headers), "the key of CLOUDQUERY_API_KEY")
    teams = [str(item.get("name", "")) for item in answer.json().get("items", [])]
    if len(teams) != 1:
        raise Permanent(
            f"the key of CLOUDQUERY_API_KEY belongs to {len(teams)} teams, not to one",
            "make an API key for the team on the Hub, or name the team in _CQ_TEAM_NAME",
        )
    return Account(token, teams[0])


def good(answer: Answer, what: str) -> Answer:
    """An answer of 200. Raises what another one means."""
    said = f": {answer.said}" if answer.said else ""
    match answer.status:
        case 200:
            return answer
        case 401 | 403:
            raise Denied(
                f"{what}: the Hub refuses us ({answer.status}{said})",
                "set CLOUDQUERY_API_KEY, an API key of the Hub, where plugins are started",
            )
        case 429:
            raise Transient(
                f"{what}: the Hub is asked too often (429{said})",
                "with CLOUDQUERY_API_KEY more is allowed; a cache that machines share asks less",
                answer.after_s or 60.0,
            )
        case status if status >= 500:
            raise Unreachable(
                f"{what}: the Hub does not work at the moment ({status}{said})",
                "try again later; versions in the cache need no Hub",
                answer.after_s,
            )
    raise Permanent(
        f"{what}: the Hub answers {answer.status}{said}", "is CLOUDQUERY_API_URL right?"
    )
