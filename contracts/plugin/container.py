"""A plugin that is an image: run by docker or podman, reached through a port, removed at the end.

The engine's program runs in the foreground, under a keeper as every plugin does: its streams and its exit code
are those of the container. The keeper removes the container at last, also when we were killed.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import Transient
from contracts.observe.log import event
from contracts.plugin import docker, environment
from contracts.plugin.docker import Engine, Image
from contracts.plugin.kept import Job
from contracts.plugin.plugin import Plugin, Surroundings
from contracts.plugin.process import Process, await_, late, private, started
from contracts.plugin.profiles import Port

_GRACE_S = 10.0  # as `docker stop` has it
_PULL_S = 1800.0
_ASK_S = 20.0  # for an answer of the engine
_LOOK_S = 0.1


@dataclass(frozen=True)
class _Asked:
    """What a command of the engine answered."""

    code: int
    out: str
    err: str


@contextmanager
def contained(plugin: Plugin, around: Surroundings, image: Image) -> Iterator[Process]:
    """The container of an image, listening. Raises what `running` raises, and Denied, NotFound, Unreachable."""
    engine = docker.engine(around.environment.get("PATH", ""))
    settings = plugin.settings
    runtime = None if settings.runtime == "auto" else settings.runtime
    given = environment.chosen(plugin, around.environment, runtime, "container")
    name = docker.container(plugin)
    with private(engine.remove(name)) as directory:
        own = _engines_own(around.environment, image, directory)
        _have(engine, image, own, plugin, around.cancelled)
        host = docker.host(around.environment)
        job = Job(
            words=engine.run(
                image, name, given, runtime=runtime, level=around.level, memory=settings.memory, local=not host
            ),
            environment={**given, **own},
            home=directory,
            cwd=directory,
            farewell=engine.remove(name),
            grace_s=_GRACE_S,
        )  # fmt: skip
        with started(plugin, around, job, host_alias=engine.host_alias) as program:
            event("plugin_started", plugin=plugin.name, image=image.name, container=name)
            begun_s = time.monotonic()
            port = _port(engine, name, own, program, settings.start_timeout, around.cancelled)
            place = Port(port, host or "127.0.0.1")
            program.target = place.target
            left_s = settings.start_timeout - (time.monotonic() - begun_s)
            await_(program, place, left_s, around.cancelled)
            yield program


def _engines_own(given: Mapping[str, str], image: Image, home: Path) -> dict[str, str]:
    """The environment of the engine's program, with a file of credentials that only it can read."""
    names = (*environment.USUAL, *environment.ENGINE)
    own = {name: value for name, value in given.items() if environment.matches(name, names)}
    own["TMPDIR"] = str(home / "tmp")
    if not image.user and not image.headers:
        return own
    theirs = Path(own.get("DOCKER_CONFIG") or Path(own.get("HOME", "/"), ".docker"))
    place = home / "engine"
    place.mkdir(mode=0o700)
    existing = ""
    with contextlib.suppress(OSError):
        existing = (theirs / "config.json").read_text()
        for entry in theirs.iterdir():
            if entry.name != "config.json":  # contexts, plugins of the engine
                (place / entry.name).symlink_to(entry)
    file = place / "config.json"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(docker.configuration(image, existing))
    return own | {"DOCKER_CONFIG": str(place), "REGISTRY_AUTH_FILE": str(file)}


def _have(
    engine: Engine,
    image: Image,
    own: Mapping[str, str],
    plugin: Plugin,
    cancelled: Callable[[], bool],
) -> None:
    """The image on this machine: fetched if it is not there, which takes its time."""
    if _ask(engine.inspect(image), own, _ASK_S, cancelled).code == 0:
        return
    event("plugin_image_pulled", plugin=plugin.name, image=image.name)
    answer = _ask(engine.pull(image), own, _PULL_S, cancelled)
    if answer.code:
        raise docker.refusal(answer.err or answer.out, str(plugin))


def _port(
    engine: Engine,
    name: str,
    own: Mapping[str, str],
    program: Process,
    timeout_s: float,
    cancelled: Callable[[], bool],
) -> int:
    """The port of this machine that leads into the container, which the engine gives it when it starts."""
    end_s = time.monotonic() + timeout_s
    while True:
        answer = _ask(engine.port(name), own, _ASK_S, cancelled)
        port = docker.port_of(answer.out) if answer.code == 0 else None
        if port:
            return port
        if death := program.death(_LOOK_S):
            raise death
        if time.monotonic() > end_s:
            raise late(program.what, timeout_s, program.log.last_lines())


def _ask(
    line: Sequence[str], own: Mapping[str, str], timeout_s: float, cancelled: Callable[[], bool]
) -> _Asked:
    """Run a command of the engine to its end. Raises Transient if that takes too long, or was cancelled."""
    end_s = time.monotonic() + timeout_s
    process = subprocess.Popen(
        line,
        env=dict(own),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        try:
            while True:
                try:
                    out, err = process.communicate(timeout=0.2)
                except subprocess.TimeoutExpired:
                    if cancelled() or time.monotonic() > end_s:
                        why = (
                            "was cancelled" if cancelled() else f"took more than {timeout_s:.0f} s"
                        )
                        raise Transient(f"`{' '.join(line[:3])} …` {why}") from None
                else:
                    return _Asked(process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))  # fmt: skip
        finally:
            process.kill()
