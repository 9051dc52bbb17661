"""Which files a spec consists of, where its documents begin, and which characters are comments.

CloudQuery splits on exactly newline, `---`, newline, and silently loses a document behind `--- ` or
`--- # note`; here such a document is read, with a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import InputError
from contracts.specfile.origin import Origin

_SEPARATOR = re.compile(r"^---(?P<rest>[ \t]*(?:#[^\n]*)?)$", re.MULTILINE)
_VARIABLE = re.compile(r"\$\{[^}\n]+\}")
_BLOCK = re.compile(r"(?:^|(?<=[\s]))[|>][0-9+-]{0,2}$")
# What may stand before a block scalar's indicator or an opening quote: nothing, a dash, a question
# mark or a colon with a blank behind it, an anchor or a tag.
_OPENS = re.compile(r"(?:^|(?:^|\s)[-?]\s+|:\s+|(?:^|\s)[&!]\S*\s+)$")


@dataclass(frozen=True)
class Section:
    """The text of one document: as written (`origin`), and with comments blanked, offsets kept."""

    origin: Origin
    number: int  # in its file, from 1; empty documents count
    blanked: str
    warnings: tuple[str, ...] = ()


def files(paths: Sequence[str | Path]) -> list[Path]:
    """Files as named; directories one level deep, `.yml` and `.yaml` in alphabetical order.

    Raises InputError for a path that does not exist and for a directory without specs.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            names = sorted(p for p in path.iterdir() if _is_spec(p))
            if not names:
                hint = "put the spec there, or name its file"
                raise InputError(f"the directory {path} holds no .yml or .yaml file", hint)
            found += names
        elif path.exists():
            found.append(path)
        else:
            raise InputError(f"there is no file {path}", "name a spec file or a directory of them")
    if not found:
        raise InputError("no spec was named", "name a spec file or a directory of them")
    return found


def _is_spec(path: Path) -> bool:
    return path.suffix in {".yml", ".yaml"} and not path.name.startswith(".") and path.is_file()


def read_text(path: Path) -> str:
    """The text of a file with LF line ends. Raises InputError if it cannot be read as text."""
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        column = error.start - error.object.rfind(b"\n", 0, error.start)
        hint = "save it as UTF-8"
        raise InputError("the file is not UTF-8 text", hint, f"{path}:{line}:{column}") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise InputError(f"the file cannot be read: {reason}", where=str(path)) from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def sections(text: str, file: str, line: int = 1) -> Iterator[Section]:
    """The documents of a file; those of comments and blank lines only are left out."""
    start = 0
    warnings: tuple[str, ...] = ()
    for number, match in enumerate((*_SEPARATOR.finditer(text), None), start=1):
        stop = match.start() if match else len(text)
        section = text[start:stop]
        blanked = blank_comments(section)
        if blanked.replace("#", "").strip():
            yield Section(
                Origin(file, line + text.count("\n", 0, start), section), number, blanked, warnings
            )
        if match:
            start = min(match.end() + 1, len(text))
            warnings = _lost(Origin(file, line, text), match)


def _lost(origin: Origin, match: re.Match[str]) -> tuple[str, ...]:
    if not match["rest"] or match.start() == 0:
        return ()
    message = "CloudQuery loses the document behind this line; write `---` and nothing else"
    return (origin.warning(message, match.start()),)


def blank_comments(text: str) -> str:
    """The text with every comment overwritten by blanks, so that offsets stay what they were.

    A line that is nothing but a comment keeps its `#`: it may be what ends a block scalar.
    """
    parts: list[str] = []
    at = 0
    for start, stop in comments(text):
        begin = start + 1 if alone(text, start) else start
        parts += [text[at:begin], " " * (stop - begin)]
        at = stop
    return "".join([*parts, text[at:]])


def alone(text: str, comment: int) -> bool:
    """Whether a comment has its line to itself."""
    return not text[text.rfind("\n", 0, comment) + 1 : comment].strip(" \t")


def comments(text: str) -> Iterator[tuple[int, int]]:
    """(start, stop) of every YAML comment: `#` at the start of a line or behind a blank, outside
    quotes and block scalars. `${…}` is passed over whole.
    """
    quote, depth, block = "", 0, -1  # block: indent of the key that holds a block scalar
    offset = 0
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip(" "))
        if block >= 0 and (not line.strip() or indent > block):
            offset += len(line) + 1
            continue
        block = -1
        quote, depth, end = _scan(line, quote, depth)
        if end < len(line):
            yield offset + end, offset + len(line)
        if not quote and not depth and (head := _block_head(line[:end].rstrip())) is not None:
            block = head
        offset += len(line) + 1


def _scan(line: str, quote: str, depth: int) -> tuple[str, int, int]:
    """Walk one line: (open quote, flow depth, where its comment starts or its length)."""
    i = 0
    while i < len(line):
        c = line[i]
        if quote == '"':
            i += 1 if c == "\\" else 0
            quote = "" if c == '"' else quote
        elif quote:
            doubled = line.startswith("''", i)
            i += 1 if doubled else 0
            quote = "" if c == "'" and not doubled else quote
        elif variable := _VARIABLE.match(line, i):
            i = variable.end()
            continue
        elif c == "#" and (i == 0 or line[i - 1] in " \t"):
            return "", depth, i
        elif c in "\"'" and _opens(line, i, depth):
            quote = c
        elif c in "[{" and (depth or _opens(line, i, depth)):
            depth += 1
        elif c in "]}" and depth:
            depth -= 1
        i += 1
    return quote, depth, len(line)


def _opens(line: str, at: int, depth: int) -> bool:
    """Whether a value begins at this character: behind an indicator, an anchor or a tag."""
    if depth:
        back = at
        while back and line[back - 1] in " \t":
            back -= 1
        explicit_key = back < at and line[:back].rstrip().endswith("?")
        return not back or line[back - 1] in ",[{:" or explicit_key
    if at and line[at - 1] not in " \t":
        return False
    before = line[:at]
    return not before.strip() or _OPENS.search(before) is not None


def _block_head(line: str) -> int | None:
    """Indent that the lines of the block scalar opened by this line exceed; None if none is opened."""
    match = _BLOCK.search(line)
    if not match or not _opens(line, match.start(), 0):
        return None
    key = re.match(r"\s*(?:[-?]\s+)*", line[: match.start()])
    column = key.end() if key else 0
    if column == match.start():  # `- |`: the dash itself is the parent
        return max(line.rfind("-", 0, column), line.rfind("?", 0, column), 0)
    return column
