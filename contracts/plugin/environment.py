"""Which variables of this process a program gets: the ones it may need, never ours.

A plugin is somebody else's code. It gets what any program needs, the variables by which clouds are reached,
and what `plugins.NAME.environment` names; no address of the broker, no credential of a destination.
PYTHONPATH is not among the usual: embedded workers have one that leads to Sharder's own packages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from contracts.plugin.command import Written
from contracts.plugin.plugin import Plugin

USUAL = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", "XDG_*",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "NO_COLOR",
    "GOGC", "GOMEMLIMIT", "GOMAXPROCS", "GODEBUG",
    "VIRTUAL_ENV", "NODE_PATH", "NODE_OPTIONS", "JAVA_HOME", "JAVA_TOOL_OPTIONS",
    "AWS_*", "GOOGLE_*", "GCLOUD_*", "CLOUDSDK_*", "GCE_METADATA_*", "AZURE_*", "ARM_*", "MSI_*", "IDENTITY_*",
    "KUBE*", "KUBERNETES_*", "OCI_*", "ALIBABA_CLOUD_*", "DIGITALOCEAN_*",
    "CLOUDQUERY_API_KEY", "CLOUDQUERY_API_URL", "_CQ_TEAM_NAME", "_CQ_INSTALLATION_ID",
)  # fmt: skip
# The JavaScript SDK takes every CQ_* variable for an option, and ends at one that it does not know. We pass
# --no-sentry, and with CQ_SENTRY_ENABLED beside it a Go plugin ends.
GO = ("CQ_TELEMETRY_LEVEL", "CQ_AWS_MARKETPLACE_*")
OURS = ("SHARDER_*", "CELERY_*", "C_FORCE_ROOT", "FORKED_BY_MULTIPROCESSING")
# What the docker and podman programs need themselves, besides the usual.
ENGINE = ("DOCKER_*", "CONTAINER_*", "CONTAINERS_*", "REGISTRY_AUTH_FILE", "DBUS_SESSION_BUS_ADDRESS")  # fmt: skip
# What of this machine means nothing, or something wrong, inside of a container.
_OF_THIS_MACHINE = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "XDG_*", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
    "SYSTEMROOT", "VIRTUAL_ENV", "NODE_PATH", "JAVA_HOME", "SSL_CERT_FILE",
    "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "KUBECONFIG",
)  # fmt: skip

Place = Literal["here", "container"]


def chosen(
    plugin: Plugin,
    environment: Mapping[str, str],
    runtime: Written | None = None,
    place: Place = "here",
) -> dict[str, str]:
    """What a program gets. `__SOURCE_<NAME>__KEY` of a source NAME becomes its KEY, before a general KEY.

    runtime: None where it is not known (a container). What the settings name goes to a container, too.
    """
    usual = (*USUAL, *GO) if runtime == "go" else USUAL
    added = plugin.settings.environment
    found = {
        name: value
        for name, value in environment.items()
        if (matches(name, usual) and not (place == "container" and matches(name, _OF_THIS_MACHINE)))
        or _added(name, added, runtime)
    }
    found = {name: value for name, value in found.items() if not name.startswith("__")}
    found |= dict(_own(plugin, environment))
    return {name: value for name, value in found.items() if not matches(name, OURS)}


def matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _added(name: str, patterns: Sequence[str], runtime: Written | None) -> bool:
    """By the settings. A pattern such as `*` is not meant for the variables that end a JavaScript plugin."""
    if name.startswith("CQ_") and runtime == "javascript":
        return name in patterns
    return matches(name, patterns)


def _own(plugin: Plugin, environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    names = {plugin.name, plugin.name.upper(), re.sub(r"\W", "_", plugin.name).upper()}
    prefixes = tuple(f"__{plugin.kind.upper()}_{name}__" for name in names)
    for name, value in environment.items():
        for prefix in prefixes:
            if name.startswith(prefix) and len(name) > len(prefix):
                yield name.removeprefix(prefix), value
