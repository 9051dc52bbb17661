"""What pasting values as text does that nobody means: told as warnings and hints.

CloudQuery pastes before it parses, so that a `#` in a value starts a comment, `: ` breaks the document,
`$${NAME}` is no escape and `$NAME` no variable. It says nothing of that; we do.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from contracts.specfile.origin import nearest
from contracts.specfile.split import comments
from contracts.veil import masked

VARIABLE = re.compile(r"\$\{([^}]+)\}")
# Stands for a variable that is not set here and is left alone; of a private-use block, so that it
# reads as plain text anywhere in YAML, also between brackets.
OPEN, CLOSE = "\ue000", "\ue001"
_LEFT = re.compile(f"{OPEN}([0-9]{{1,6}}){CLOSE}")
_SHELL = re.compile(r"(?<![\w$])\$([A-Za-z_]\w+)")
_BREAKS = re.compile(r"[:#\[\]{},&*!|>'\"%@`\n]|^[-?]")


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
        """The text with pasted values replaced by the variables they came from, however they are escaped."""
        return masked(text, self.pasted)


def surprises(
    text: str, expanded: Expanded, environment: Mapping[str, str]
) -> Iterator[tuple[str, int]]:
    """(warning, offset in the original text) of variables that are not read as they look."""
    end = 0
    for match in VARIABLE.finditer(text):
        yield from _unread(text[end : match.start()], end)
        if text[: match.start()].endswith("$"):
            message = f"`$${{{match[1]}}}` is a dollar sign and the variable's value: there is no escape for variables"
            yield message, match.start() - 1
        end = match.end()
    yield from _unread(text[end:], end)
    for match in _SHELL.finditer(text):
        if match[1] in environment:
            yield (
                f"`${match[1]}` stays as it is; write ${{{match[1]}}} for the variable",
                match.start(),
            )
    yield from _cut(text, expanded)


def _unread(text: str, offset: int) -> Iterator[tuple[str, int]]:
    for match in re.finditer(r"\$\{(\})?", text):
        what = "`${}` names no variable" if match[1] else "`${` has no closing brace"
        yield f"{what} and stays as it is; write ${{NAME}}", offset + match.start()


def _cut(text: str, expanded: Expanded) -> Iterator[tuple[str, int]]:
    """Values of one line that hold a comment, which takes away the rest of the line."""
    values = expanded.pasted_at()
    if not any("#" in value for value in values.values()):
        return
    for start, _ in comments(expanded.text):
        at = expanded.origin(start)
        if "\n" not in values.get(at, "\n") and (match := VARIABLE.match(text, at)):
            yield f"the value of {match[0]} is cut at its `#`: put the variable in quotes", at


def broken_by(text: str, expanded: Expanded, offset: int) -> tuple[str, int] | None:
    """(what to write, where) for a document that is no YAML at `offset`, if a pasted value breaks it."""
    at = bisect.bisect_right(expanded.starts, offset) - 1
    values = expanded.pasted_at()
    for start, pasted in reversed(expanded.origins[: at + 1]):
        value = values.get(start, "")
        if not pasted or not _BREAKS.search(value):
            continue
        name = match[0] if (match := VARIABLE.match(text, start)) else "a variable"
        if "\n" in value:
            hint = f'{name} has several lines, pasted as they are; write "${{file:PATH}}" for a PEM or JSON text, or one line'
            return hint, start
        if "\n" not in text[start : expanded.origin(offset)]:
            return f'the value of {name} is pasted before YAML is read: write "{name}"', start
        return None
    return None


def why_unset(name: str) -> str:
    """What to write instead of a variable that has no value."""
    kind, colon, rest = name.partition(":")
    if name != name.strip():
        return f"write it without blanks: ${{{name.strip()}}}"
    if colon and kind.lower() == "env":
        return f"write ${{{rest}}}"
    if colon and rest.startswith(("-", "=", "?")):
        return f"there are no default values; set it before the command: export {kind}=…"
    if colon and (near := nearest(kind, ("file", "time"))):
        return f"did you mean ${{{near}:{rest}}}?"
    return f"set it before the command: export {name}=…"
