"""`${file:PATH}`, `${time:EXPR|LAYOUT}`, `${secret:…}` and `${NAME}`: pasted as text before YAML is parsed.

There is no escape and no nesting. Text brought in by a file may use `${NAME}`; a value never may.
Every place of the expanded text can be traced back to the text that the user wrote.
"""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from contracts.errors import InputError
from contracts.specfile import times, yaml11
from contracts.specfile.origin import Origin

VARIABLE = re.compile(r"\$\{([^}]+)\}")
_PEM = re.compile(r"\s*-----BEGIN [^\n]+-----\n.*-----END [^\n]+-----\s*", re.DOTALL)
# Stands for a variable that is not set here and is left alone; of a private-use block, so that it
# reads as plain text anywhere in YAML, also between brackets.
_OPEN, _CLOSE = "\ue000", "\ue001"
_LEFT = re.compile(f"{_OPEN}([0-9]{{1,6}}){_CLOSE}")

Resolve = Callable[[str], str]  # the body of a `${secret:…}` → the text to paste


@dataclass(repr=False)  # its values may be secrets
class Expanded:
    """A text with its variables filled in, and how it came about."""

    text: str
    starts: list[int]  # offsets in `text` at which a piece begins …
    origins: list[tuple[int, bool]]  # … its offset in the original, and whether it was pasted
    left: list[tuple[str, int]] = field(default_factory=list)  # unset: (variable, original offset)
    pasted: dict[str, str] = field(
        default_factory=dict
    )  # value → variable, to keep it out of errors

    def origin(self, offset: int) -> int:
        """Offset in the original text; anything inside a pasted value stands where its `${` stood."""
        at = max(bisect.bisect_right(self.starts, offset) - 1, 0)
        start, pasted = self.origins[at]
        return start if pasted else start + offset - self.starts[at]

    def pasted_at(self) -> dict[int, str]:
        """Offset of a variable in the original text → what was pasted for it, unless that is empty."""
        stops = [*self.starts[1:], len(self.text)]
        pieces = zip(self.origins, self.starts, stops, strict=True)
        return {offset: self.text[a:b] for (offset, pasted), a, b in pieces if pasted}

    def restore(self, text: str) -> str:
        """A value as it was written where its variables were left alone."""

        def written(match: re.Match[str]) -> str:
            n = int(match[1])
            return f"${{{self.left[n][0]}}}" if n < len(self.left) else match[0]

        return _LEFT.sub(written, text)

    def masked(self, text: str) -> str:
        """The text with pasted values replaced by the variables they came from."""
        for value, name in sorted(self.pasted.items(), key=lambda item: -len(item[0])):
            text = text.replace(value, f"${{{name}}}")
        for piece in sorted({p for v in self.pasted for p in _pieces(v)}, key=len, reverse=True):
            text = text.replace(piece, "***")
        return text


@dataclass(frozen=True)
class Variables:
    """What variables may be taken from. Without `now` a time is an error; with `lenient` unset
    variables and missing files are left alone and listed in `Expanded.left`.
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
        if colon and kind == "file":
            return self._file(argument, offset, origin, expanded)
        if colon and kind == "time":
            return self._time(argument, offset, origin)
        if colon and kind == "secret" and self.secret:
            text = self.secret(argument)
            _keep_secret(yaml11.parse(text).value, argument.rpartition(".")[2], expanded)
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
                return self._time(match[1][5:], offset, origin)
            return self._environment(match[1], offset, origin, expanded)

        text = VARIABLE.sub(value, text)
        if len(text) > 3:
            expanded.pasted[text] = f"file:{path}"
        return text

    def _time(self, expression: str, offset: int, origin: Origin) -> str:
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
    return origin.error(message, f"set it before the command: export {name}=…", offset)


def _leave(name: str, offset: int, expanded: Expanded) -> str:
    expanded.left.append((name, offset))
    return f"{_OPEN}{len(expanded.left) - 1}{_CLOSE}"


def _keep_secret(value: object, name: str, expanded: Expanded) -> None:
    """Every text inside of a secret, to keep it out of errors."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _keep_secret(inner, name, expanded)
    elif isinstance(value, str) and len(value) > 3:
        expanded.pasted[value] = name


def _pieces(value: str) -> list[str]:
    """Of a password with unescaped separators, alone or in a URL: drivers take a part of it for the host."""
    found = re.search(r"://[^:/?#@]*:(.+)@", value)
    password = found[1] if found else value if "@" in value else ""
    return [piece for piece in re.split(r"[@/:?#]", password) if len(piece) > 3]


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
