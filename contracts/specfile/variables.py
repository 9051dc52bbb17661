"""`${file:PATH}`, `${time:EXPR|LAYOUT}`, `${secret:…}` and `${NAME}`: pasted as text before YAML is parsed.

There is no escape and no nesting. Text brought in by a file may use `${NAME}`; a value never may.
Every place of the expanded text can be traced back to the text that the user wrote.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from contracts.errors import InputError
from contracts.specfile import times, yaml11
from contracts.specfile.origin import Origin
from contracts.specfile.pasted import CLOSE, OPEN, VARIABLE, Expanded, why_unset

_PEM = re.compile(r"\s*-----BEGIN [^\n]+-----\n.*-----END [^\n]+-----\s*", re.DOTALL)
Resolve = Callable[[str], str]  # the body of a `${secret:…}` → the text to paste


@dataclass(frozen=True)
class Variables:
    """What variables may be taken from. Without `now` a time is an error; with `lenient` unset variables,
    missing files and times without a `now` are left alone and listed in `Expanded.left`.
    """

    environment: Mapping[str, str]
    now: datetime | None = None
    lenient: bool = False
    secret: Resolve | None = None

    def expand(self, text: str, origin: Origin) -> Expanded:
        """Fill in every variable of a text whose comments are blanked. Raises InputError."""
        return _paste(text, lambda m, expanded: self._value(m[1], m.start(), origin, expanded))

    def _value(self, body: str, offset: int, origin: Origin, expanded: Expanded) -> str:
        kind, colon, argument = body.partition(":")
        if "${" in body:
            hint = "write one variable, and set it to the whole text"
            raise origin.error("a variable inside of a variable is not read", hint, offset)
        if "\n" in body:
            hint = "write ${NAME} on one line"
            raise origin.error("the variable that begins here has no closing brace", hint, offset)
        if colon and kind == "file":
            return self._file(argument, offset, origin, expanded)
        if colon and kind == "time":
            return self._time(argument, offset, origin, expanded)
        if colon and kind == "secret" and self.secret:
            text = self.secret(argument)
            keep_secret(yaml11.parse(text).value, argument.rpartition(".")[2], expanded)
            return text
        return self._environment(body, offset, origin, expanded)

    def _environment(self, name: str, offset: int, origin: Origin, expanded: Expanded) -> str:
        value = self.environment.get(name)
        if value is None:
            if self.lenient:
                return _leave(name, offset, expanded)
            raise unset(name, offset, origin)
        if len(value) > 3:  # shorter values are no secrets, and occur anywhere
            expanded.pasted[value] = name
        return value

    def _file(self, path: str, offset: int, origin: Origin, expanded: Expanded) -> str:
        try:
            text = Path(path).read_bytes().decode("utf-8").replace("\r\n", "\n")
        except FileNotFoundError as error:
            if self.lenient:
                return _leave(f"file:{path}", offset, expanded)
            raise unset(f"file:{path}", offset, origin) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise origin.error(f"the file '{path}' cannot be read: {reason}", "", offset) from error
        text = _one_line(text)

        def value(match: re.Match[str]) -> str:
            if match[1].startswith("time:"):
                return self._time(match[1][5:], offset, origin, expanded)
            return self._environment(match[1], offset, origin, expanded)

        text = VARIABLE.sub(value, text)
        if len(text) > 3:
            expanded.pasted[text] = f"file:{path}"
        return text

    def _time(self, expression: str, offset: int, origin: Origin, expanded: Expanded) -> str:
        if self.now is None and self.lenient:
            return _leave(f"time:{expression}", offset, expanded)
        if self.now is None:
            message = "a time inside an included file would differ from one program to the next"
            hint = (
                f"write ${{time:{expression}}} in the spec itself, where it is fixed once per run"
            )
            raise origin.error(message, hint, offset)
        try:
            return times.evaluate(expression, self.now)
        except ValueError as error:
            raise origin.error(str(error), "", offset) from error


def leave_all(text: str) -> Expanded:
    """The text with every variable left alone, for programs that may not have their values."""
    return _paste(text, lambda match, expanded: _leave(match[1], match.start(), expanded))


def _paste(text: str, value: Callable[[re.Match[str], Expanded], str]) -> Expanded:
    expanded = Expanded("", [], [])
    pieces: list[str] = []
    at = length = 0

    def add(piece: str, start: int, *, pasted: bool) -> None:
        nonlocal length
        if piece:
            pieces.append(piece)
            expanded.starts.append(length)
            expanded.origins.append((start, pasted))
            length += len(piece)

    for match in VARIABLE.finditer(text):
        add(text[at : match.start()], at, pasted=False)
        add(value(match, expanded), match.start(), pasted=True)
        at = match.end()
    add(text[at:], at, pasted=False)
    if not pieces:
        expanded.starts, expanded.origins = [0], [(0, False)]
    expanded.text = "".join(pieces)
    return expanded


def unset(name: str, offset: int, origin: Origin) -> InputError:
    """The error for a variable (or `file:PATH`) that has no value."""
    if name.startswith("file:"):
        hint = "the path is taken from the working directory"
        return origin.error(f"there is no file '{name[5:]}'", hint, offset)
    message = f"the environment variable {name} is not set"
    return origin.error(message, why_unset(name), offset)


def _leave(name: str, offset: int, expanded: Expanded) -> str:
    expanded.left.append((name, offset))
    return f"{OPEN}{len(expanded.left) - 1}{CLOSE}"


def keep_secret(value: object, name: str, expanded: Expanded) -> None:
    """Every text inside of a secret, to keep it out of errors."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            keep_secret(inner, name, expanded)
    elif isinstance(value, str) and len(value) > 3:
        expanded.pasted[value] = name


def _one_line(text: str) -> str:
    """Multi-line JSON and PEM are pasted as the inside of a double-quoted string, as CloudQuery does."""
    if "\n" not in text:
        return text
    if not _PEM.fullmatch(text):
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return text
    return json.dumps(text, ensure_ascii=False)[1:-1]
