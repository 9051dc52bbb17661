"""Plugins of registry github: releases from the time before the Hub, kept in the same cache.

CloudQuery has left this registry behind: there is no checksum, and nobody says whether a release is any good.
SHARDER_GITHUB_URL names another host than github.com (an Enterprise server, a mirror).
"""

from __future__ import annotations

import logging
from pathlib import Path

from contracts.errors import NotFound
from contracts.observe.log import event
from contracts.plugin import archive, cache, hub
from contracts.plugin.cache import Kept, Target
from contracts.plugin.plugin import Plugin, Surroundings
from contracts.plugin.web import Web

URL = "https://github.com"
SETTING = "SHARDER_GITHUB_URL"


def fetched(plugin: Plugin, around: Surroundings, web: Web | None = None) -> Kept:
    """The program of a release. Raises InputError, NotFound, Unreachable, Permanent."""
    organisation, name = hub.names(plugin)
    target = Target.here()
    slot = cache.slot(plugin, around, target, organisation, name)
    if found := slot.found():
        return found
    url = around.environment.get(SETTING, URL).rstrip("/")
    with slot.locked(around.cancelled):
        if found := slot.found():
            return found
        event(
            "plugin_of_registry_github", logging.WARNING, plugin=str(plugin),
            advice="its releases have no checksum; CloudQuery has left this registry behind",
        )  # fmt: skip
        with slot.beside() as directory:
            zipped = directory / "plugin.zip"
            digest = _download(plugin, release(plugin, url, target), web or Web(), zipped)
            archive.extract(zipped, members(plugin, target), directory / "plugin", str(plugin))
            return slot.keep(directory / "plugin", {"zip": digest, "from": url})


def _download(plugin: Plugin, url: str, web: Web, place: Path) -> str:
    try:
        return web.download(url, place)
    except NotFound as error:
        raise NotFound(
            f"{plugin}: there is no such release: {url}",
            "is the version written as its tag is? newer versions are on the Hub: `registry: cloudquery`",
        ) from error


def release(plugin: Plugin, url: str, target: Target) -> str:
    """The address of the zip file: CloudQuery's own plugins shared one repository, others have one each."""
    organisation, _, name = plugin.path.partition("/")
    kind, version = plugin.kind, plugin.version
    if organisation == "cloudquery":
        tag = f"plugins-{kind}-{name}-{version}"
        return f"{url}/cloudquery/cloudquery/releases/download/{tag}/{name}_{target}.zip"
    repository = f"cq-{kind}-{name}"
    return (
        f"{url}/{organisation}/{repository}/releases/download/{version}/{repository}_{target}.zip"
    )


def members(plugin: Plugin, target: Target) -> tuple[str, ...]:
    """What the program may be called in there."""
    organisation, _, name = plugin.path.partition("/")
    usual = f"plugins/{plugin.kind}/{name}"
    own = f"cq-{plugin.kind}-{name}"
    found = (usual, own, name) if organisation == "cloudquery" else (own, usual, name)
    return tuple(member + target.suffix for member in found)
