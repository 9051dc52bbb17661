"""What docker or podman is told: how an image of a plugin is fetched, run, asked for its port, and removed.

Pure: lines of arguments and texts of files. Values of variables are in no line: `--env NAME` has the engine take
them from its own environment.
"""

from __future__ import annotations

import base64
import binascii
import re
import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from contracts.errors import Denied, InputError, NotFound, Permanent, SharderError, Unreachable
from contracts.plugin import profiles
from contracts.plugin.command import Written
from contracts.plugin.plugin import Plugin

_DOCKER_HUB = "https://index.docker.io/v1/"
_UNFIT = re.compile(r"[^a-zA-Z0-9_.-]")


@dataclass(frozen=True)
class Image:
    """An image and who may have it. `headers` are for its registry."""

    name: str
    user: str = ""
    password: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def registry(self) -> str:
        """The host, as files with credentials name it."""
        first, slash, _ = self.name.partition("/")
        is_host = slash and ("." in first or ":" in first or first == "localhost")
        return first if is_host else _DOCKER_HUB


@dataclass(frozen=True)
class Engine:
    """The program, and what it is called: docker or podman."""

    program: str

    @property
    def is_podman(self) -> bool:
        return Path(self.program).name.startswith("podman")

    @property
    def host_alias(self) -> str:
        """How a container names this machine."""
        return "host.containers.internal" if self.is_podman else "host.docker.internal"

    def run(
        self,
        image: Image,
        container: str,
        variables: Iterable[str],
        *,
        runtime: Written | None = None,
        level: str = "info",
        memory: int = 0,
        local: bool = True,
    ) -> tuple[str, ...]:
        """In the foreground: what the plugin says and its exit code are the engine's. No terminal, so that
        standard error stays apart. `local`: the port is given to this machine alone.
        """
        place = profiles.Port(profiles.PORT, "0.0.0.0")  # noqa: S104 — inside of the container
        given_port = "127.0.0.1::" if local else ""
        line = [self.program, "run", "--rm", "--name", container]
        line += ["--publish", f"{given_port}{profiles.PORT}/tcp"]
        if not self.is_podman:
            line += ["--add-host", f"{self.host_alias}:host-gateway"]
        if memory:
            line += ["--memory", str(memory)]
        for name in sorted(variables):
            line += ["--env", name]
        # A Python plugin would keep its log until a block of it is full.
        line += ["--env", "PYTHONUNBUFFERED=1", image.name]
        return (*line, *profiles.arguments(runtime or "python", place, level))

    def inspect(self, image: Image) -> tuple[str, ...]:
        return (self.program, "image", "inspect", "--format", "{{.Id}}", image.name)

    def pull(self, image: Image) -> tuple[str, ...]:
        return (self.program, "pull", "--quiet", image.name)

    def port(self, container: str) -> tuple[str, ...]:
        return (self.program, "port", container, f"{profiles.PORT}/tcp")

    def remove(self, container: str) -> tuple[str, ...]:
        return (self.program, "rm", "--force", "--volumes", container)


def engine(search: str) -> Engine:
    """Docker, else podman, on the PATH `search`. Raises InputError if there is none."""
    for name in ("docker", "podman"):
        if found := shutil.which(name, path=search):
            return Engine(found)
    raise InputError(
        "a plugin that is an image needs docker or podman, and there is neither on the PATH of this process",
        "install one of them where plugins are started, or run the image elsewhere (a sidecar, for example)"
        " and write `registry: grpc` with its host:port",
    )


def image(plugin: Plugin) -> Image:
    """Of registry docker. Raises InputError for a token that is none; the token is not in the message."""
    if not plugin.docker_token:
        return Image(plugin.path)
    try:
        found = orjson.loads(base64.b64decode(plugin.docker_token, validate=True))
        return Image(plugin.path, str(found["username"]), str(found["password"]))
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{plugin}: docker_registry_auth_token is not base64 of a JSON with username and password",
            """make it with: echo -n '{"username":"…","password":"…"}' | base64 -w0""",
        ) from error


def container(plugin: Plugin) -> str:
    """A name for one run of it."""
    return f"sharder-{_UNFIT.sub('-', plugin.name)[:60]}-{uuid.uuid4().hex}"


def configuration(image: Image, existing: str = "") -> str:
    """The engine's file of credentials, with those for the image; `existing`: the user's own."""
    try:
        found = orjson.loads(existing or "{}")
    except orjson.JSONDecodeError:
        found = {}
    if image.user:
        secret = base64.b64encode(f"{image.user}:{image.password}".encode()).decode()
        key = "docker.io" if image.registry == _DOCKER_HUB else image.registry
        for name in {key, image.registry}:
            found.setdefault("auths", {})[name] = {"auth": secret}
            found.get("credHelpers", {}).pop(name, None)
        found.pop("credsStore", None)  # it would be asked instead
    if image.headers:
        found["HttpHeaders"] = {**found.get("HttpHeaders", {}), **image.headers}
    return orjson.dumps(found).decode()


def port_of(text: str) -> int | None:
    """Of `127.0.0.1:49153`, one line per address; None: none is given yet."""
    for line in text.splitlines():
        number = line.rpartition(":")[2].strip()
        if number.isdigit():
            return int(number)
    return None


def host(environment: Mapping[str, str]) -> str:
    """Where the ports of containers are: this machine, or that of the engine."""
    parts = urlsplit(environment.get("DOCKER_HOST", ""))
    return (parts.hostname or "") if parts.scheme in {"tcp", "ssh"} else ""


def refusal(said: str, what: str) -> SharderError:
    """What the engine's complaint about an image means."""
    last = said.strip().splitlines()[-1][:500] if said.strip() else "it does not say why"
    text = said.lower()
    if "unauthorized" in text or "denied:" in text or "authentication required" in text:
        return Denied(
            f"{what}: the registry of the image refuses us: {last}",
            "set docker_registry_auth_token (registry docker), CLOUDQUERY_API_KEY (registry cloudquery), or log"
            " in with the engine where plugins are started",
        )
    if "not found" in text or "manifest unknown" in text or "no such image" in text:
        return NotFound(f"{what}: there is no such image: {last}", "is its tag right?")
    if (
        "daemon" in text
        or "docker.sock" in text
        or "podman.sock" in text
        or "connection refused" in text
    ):
        return Unreachable(
            f"{what}: the container engine does not answer: {last}",
            "is it running, and may this user use it?",
        )
    return Permanent(f"{what}: the image cannot be had: {last}")
