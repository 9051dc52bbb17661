"""Where a piece of a document stands in the user's file, and how an error shows it.

Every error about a spec names file, line and column and shows the line as it was written: with
`${NAME}`, never with the value, and without anything that looks like a literal secret.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from contracts.errors import InputError

_SECRET_LINE = re.compile(
    r"(?i)([\"']?[\w-]*(?:pass|pwd|secret|token|api_?key|private|connection|credential|dsn)[\w-]*"
    r"[\"']?\s*:\s*)(?!(?:\$\{[^}]*\}|[\"']?@@plugins\.[\w.-]+[\"']?)\s*$)\S.*"
)
_MEANT = re.compile(r"^did you mean '([^']*)'")
_ANY_LINE = re.compile(r"([\w-]+[\"']?\s*:\s*)\S.*")
_USERINFO = re.compile(r"://[^/\s]*@")
_LONGEST = 120  # characters of a line that an error shows


@dataclass(frozen=True)
class Origin:
    """One document as it stands in the file, comments included; `line` is that of its first line."""

    file: str
    line: int
    text: str

    def position(self, offset: int) -> tuple[int, int]:
        """(line, column) in the file, both from 1."""
        offset = max(0, min(offset, len(self.text)))
        before = self.text.rfind("\n", 0, offset) + 1
        return self.line + self.text.count("\n", 0, offset), offset - before + 1

    def where(self, offset: int) -> str:
        line, column = self.position(offset)
        return f"{self.file}:{line}:{column}"

    def shown(self, offset: int) -> str:
        """The line at `offset`, fit to be shown to anybody."""
        start = self.text.rfind("\n", 0, offset) + 1
        # Cut first: the patterns take quadratic time on a run of letters.
        line = self.text[start : start + 4 * _LONGEST].split("\n", 1)[0]
        if len(line) == 4 * _LONGEST:
            line = line.rsplit("://", 1)[0]  # what follows may be half of a user and password
        line = _USERINFO.sub("://…@", _SECRET_LINE.sub(r"\1…", line.rstrip()))
        return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"

    def error(self, message: str, hint: str, offset: int) -> InputError:
        """An InputError at this place which ends with the line it speaks of."""
        number, _ = self.position(offset)
        shown = self.shown(offset)
        if (meant := _MEANT.match(hint)) and _SECRET_LINE.match(f"{meant[1]}: x"):
            shown = _ANY_LINE.sub(
                r"\1…", shown
            )  # a misspelt `password` holds a password all the same
        lines = [hint] if hint else []
        lines += [f"{number:>5} | {shown}"] if shown.strip() else []
        return InputError(message, "\n  ".join(lines), self.where(offset))

    def warning(self, message: str, offset: int) -> str:
        return f"{self.where(offset)}: {message}"


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name most like this one; empty if none is near."""
    names = list(known)
    folded = {n.lower(): n for n in names}
    found = difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.55)
    return folded[found[0]] if found else ""
