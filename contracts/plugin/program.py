"""A plugin that runs: started with the profile of its runtime, watched, and ended without a trace.

`running` is the whole life of one. What is executed comes from the registry of the document: a command of this
machine, a download, a container; for `grpc` somebody else has started it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from contracts.errors import InputError, Transient
from contracts.observe.log import event
from contracts.plugin import (
    allowed,
    command,
    docker,
    environment,
    github,
    home,
    hub,
    ports,
    profiles,
)
from contracts.plugin.cache import Kept
from contracts.plugin.container import contained
from contracts.plugin.kept import Job
from contracts.plugin.plugin import Plugin, Surroundings
from contracts.plugin.process import Process, Program, await_, private, started
from contracts.plugin.profiles import Place, Port, Socket

__all__ = ["Process", "Program", "running"]

_ADDRESS = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}|unix:.+")


@contextmanager
def running(plugin: Plugin, around: Surroundings) -> Iterator[Program]:
    """The program of a document, listening; ended when the block is left, however it is left.

    Raises InputError if the document names no program that is there, NotAllowed if the machine does not run
    it, what fetching it raises; NotStarted, OutOfMemory or Late if it does not come to listen; Died if it was
    cancelled.
    """
    if plugin.registry != "local":
        allowed.refuse(plugin, around.environment)
    match plugin.registry:
        case "grpc":
            yield _elsewhere(plugin)
        case "local":
            words = command.words(plugin.path, around.environment.get("PATH", ""), Path.cwd())
            allowed.refuse(plugin, around.environment, words)
            with _executed(plugin, around, words) as program:
                yield program
        case "cloudquery" | "github":
            fetched = hub.fetched if plugin.registry == "cloudquery" else github.fetched
            with _kept(plugin, around, fetched(plugin, around)) as program:
                yield program
        case "docker":
            with contained(plugin, around, docker.image(plugin)) as program:
                yield program
        case _:
            raise InputError(f"{plugin}: a plugin of this registry is no program of its own")


@contextmanager
def _kept(plugin: Plugin, around: Surroundings, kept: Kept) -> Iterator[Process]:
    """What was downloaded, or the image that stands for it."""
    if kept.program:
        with _executed(plugin, around, (str(kept.program),)) as program:
            yield program
    else:
        with contained(plugin, around, hub.image(plugin, around, kept)) as program:
            yield program


def _elsewhere(plugin: Plugin) -> Program:
    if not _ADDRESS.fullmatch(plugin.path):
        raise InputError(
            f"{plugin}: the path of a plugin of registry grpc is host:port",
            "write for example `path: localhost:7777`, where the plugin is served",
        )
    return Program(str(plugin), plugin.path)


@contextmanager
def _executed(plugin: Plugin, around: Surroundings, words: Sequence[str]) -> Iterator[Process]:
    runtime = command.runtime(words, plugin.settings.runtime)
    place_: Place
    with private() as directory:
        if profiles.wants_port(runtime):
            place_ = Port(ports.free())
        else:
            place_ = Socket(home.socket(directory))
        given = environment.chosen(plugin, around.environment, runtime)
        job = Job(
            words=(*words, *profiles.arguments(runtime, place_, around.level)),
            environment={**given, "TMPDIR": str(home.temporary(directory))},
            home=directory,
            cwd=Path.cwd(),
            memory=plugin.settings.memory,
            together=0 if plugin.settings.memory else around.memory_bytes,
        )
        with started(plugin, around, job, place_.target) as program:
            event("plugin_started", plugin=plugin.name, pid=program.pid, runtime=runtime)
            await_(program, place_, plugin.settings.start_timeout, around.cancelled)
            if isinstance(place_, Port) and ports.is_foreign(place_.port, program.keeper_pid):
                raise Transient(
                    f"{plugin}: port {place_.port} of this machine was taken by another program",
                    "try again: another port is taken then",
                )
            yield program
