"""The words of a local plugin's command, and what it is written with."""

from __future__ import annotations

import mmap
import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from contracts.errors import InputError
from contracts.spec import Runtime

Written = Literal["go", "python", "javascript", "java"]

_HEAD = 4096
_BY_NAME: tuple[tuple[re.Pattern[str], Written], ...] = (
    (re.compile(r"(python|pypy)[\d.]*|uv|uvx|poetry|pipenv|pdm"), "python"),
    (re.compile(r"node(js)?|npx|deno|bun|tsx|ts-node"), "javascript"),
    (re.compile(r"java"), "java"),
)
# What makers of single-file programs leave in them. A Go program names its build in a section of its own.
_INSIDE: tuple[tuple[bytes, Written], ...] = (
    (b"\xff Go buildinf:", "go"),
    (b"NODE_SEA_FUSE", "javascript"),
    (b"PYZ-00.pyz", "python"),
)
_EXEC = re.compile(r"exec'*\s[^\n]*?([\w./-]*(?:python|pypy|node|java)[\d.]*)\b")
_HINTS: Mapping[str, str] = {".py": "python", ".js": "node", ".mjs": "node", ".cjs": "node"}


def words(path: str, search: str, here: Path) -> tuple[str, ...]:
    """What to execute: the file that `path` names, or the command line that it is.

    search: the PATH on which a bare name is looked for; here: what relative paths begin at.
    The first word of the result is absolute and without `..`. Raises InputError.
    """
    whole = here / path
    if whole.is_dir():
        raise InputError(
            f"the plugin '{path}' is a directory",
            "`path` is the program itself, or a command line such as `python -m my_plugin`",
        )
    if whole.is_file():
        return _file(path, whole)
    try:
        found = shlex.split(path)
    except ValueError as error:
        raise InputError(f"the command '{path}' cannot be split: {error}") from error
    if not found:
        raise InputError("the plugin's `path` is empty")
    return (_program(found[0], path, search, here), *found[1:])


def _file(path: str, file: Path) -> tuple[str, ...]:
    program = os.path.normpath(file)
    if file.suffix == ".jar":
        return ("/usr/bin/env", "java", "-jar", program)
    if not os.access(file, os.X_OK):
        runner = _HINTS.get(file.suffix)
        write = f", or write `path: {runner} {path}`" if runner else ""
        raise InputError(f"the plugin '{path}' is not executable", f"chmod +x {path}{write}")
    return (program,)


def _program(name: str, path: str, search: str, here: Path) -> str:
    if "/" in name:
        file = here / name
        if file.is_file() and os.access(file, os.X_OK):
            return os.path.normpath(file)
        why = "is not executable" if file.is_file() else "is not there"
        raise InputError(
            f"the plugin '{path}': {os.path.normpath(file)} {why}",
            "relative paths begin where the program that starts it was started; on a fleet the plugin"
            " has to be on every worker",
        )
    found = shutil.which(name, path=search)
    if found is None:
        raise InputError(
            f"the plugin '{path}': there is no program '{name}' on the PATH of this process",
            f"write its whole path; PATH is {search or 'empty'}",
        )
    return os.path.abspath(found)  # noqa: PTH100 — as the PATH means it, no symbolic link followed


def runtime(command: Sequence[str], wanted: Runtime = "auto") -> Written:
    """What the program is written with: by its name, its first line, what is inside of it.

    What cannot be found out is started as Go plugins are: most are, and CloudQuery does the same.
    """
    if wanted != "auto":
        return wanted
    name = Path(command[0]).name
    if name == "env":
        rest = [w for w in command[1:] if "=" not in w and not w.startswith("-")]
        return runtime(rest) if rest else "go"
    return _named(name) or _of_file(Path(command[0])) or "go"


def _named(program: str) -> Written | None:
    return next((w for pattern, w in _BY_NAME if pattern.fullmatch(program)), None)


def _of_file(file: Path) -> Written | None:
    try:
        with file.open("rb") as opened:
            head = opened.read(_HEAD)
            if head.startswith(b"#!"):
                return _of_script(head.decode("utf-8", "replace"))
            if not head:
                return None
            with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as inside:
                return next((w for mark, w in _INSIDE if inside.find(mark) >= 0), None)
    except OSError:
        return None


def _of_script(head: str) -> Written | None:
    """`#!/usr/bin/env node`, or a shell script that hands over: as installers of Python write them too."""
    first, _, rest = head[2:].partition("\n")
    for word in first.split():
        if found := _named(Path(word).name):
            return found
    handed = _EXEC.search(rest)
    return _named(Path(handed[1]).name) if handed else None
