"""Literals in secret fields: found, shown without their value, and kept off the stage.

A field that is wholly `${NAME}` or `${file:PATH}` is no literal. Embedded, `seal` replaces a literal by
`${secret:FILE#DOCUMENT#PATH}`, which is read from the user's own file when the document is expanded;
on a fleet the submitter refuses it with `line_to_write`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from contracts.errors import InputError
from contracts.specfile import yaml11
from contracts.specfile.document import SpecDocument
from contracts.specfile.origin import Origin
from contracts.specfile.pasted import CLOSE, OPEN, VARIABLE, Expanded
from contracts.specfile.scalars import quoted
from contracts.specfile.split import blank_comments, read_text, sections
from contracts.specfile.variables import Resolve, Variables, keep_secret, unset
from contracts.veil import VEIL

_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")
_SWAPPED = "\ue002"  # of a private-use block: plain text anywhere in YAML


def literals(text: str, secret_paths: Sequence[str], where: str = "") -> list[tuple[str, int]]:
    """(path, line) of every secret field that holds a literal; line 1 is the first of the text.

    Paths are dotted and begin below the document's outer `spec:`, as the model has them, for example
    `spec.connection_string`; `*` stands for any one step: `spec.accounts.*.token`.
    """
    return [
        (".".join(map(str, path[1:])), text.count("\n", 0, place.start) + 1)
        for path, place in _literals(text, secret_paths, where)
    ]


def conceal(document: SpecDocument, secret_paths: Sequence[str]) -> None:
    """From here on keep the document's literals out of errors, logs and traces, as values of variables are."""
    for path, _ in _literals(document.text, secret_paths, document.file):
        with suppress(LookupError):  # a merge key put it elsewhere
            keep_secret(_at(document.parsed.value, path), str(path[-1]), document.expanded)
    VEIL.remember(document.expanded.pasted)


def seal(text: str, secret_paths: Sequence[str], where: str) -> str:
    """The text with literals at secret fields replaced by placeholders.

    `where` is `FILE#NUMBER`: the user's file, and the number of the document in it.
    Raises InputError if a literal cannot be replaced, for example behind a `?` key.
    """
    file, _, number = where.rpartition("#")
    source = f"{quote(str(Path(file).absolute()), safe='/')}#{number}"
    for path, place in reversed(_literals(text, secret_paths, file)):
        dotted = ".".join(quote(str(step), safe="") for step in path)
        start, stop = _span(text, place)
        placeholder = f"${{secret:{source}#{dotted}}}"
        if "\n" in text[place.key_end : start]:
            # A block below its key: moved up, since the placeholder may not stand at the key's indent.
            start, placeholder = place.key_end, f": {placeholder}"
        text = text[:start] + placeholder + text[stop:]
    try:
        left = bool(_literals(text, secret_paths, file))
    except InputError:  # the placeholder broke the text, for example behind a `?` key
        left = True
    if left:
        hint = "write it as `key: value`, or take it from the environment"
        raise InputError("a secret cannot be kept off the stage", hint, where=file)
    return text


def line_to_write(path: str, name: str) -> str:
    """The line that takes a secret from the environment instead: `password: ${PG_PASSWORD}`."""
    key = path.rsplit(".", 1)[-1]
    return f"{key}: ${{{re.sub(r'[^A-Za-z0-9]+', '_', f'{name}_{key}').upper()}}}"


def resolver(environment: Mapping[str, str]) -> Resolve:
    """Reads `${secret:…}` from the user's file; for embedded runs, which share a disk with it."""

    def resolve(body: str) -> str:
        parts = body.split("#")
        if len(parts) != 3 or not parts[1].isdecimal():
            raise InputError(f"not a reference to a secret: {body}")
        path, steps = Path(unquote(parts[0])), [unquote(step) for step in parts[2].split(".")]
        value = _secret(path, int(parts[1]), steps, environment)
        return quoted(value)

    return resolve


def _secret(path: Path, number: int, steps: Sequence[str], environment: Mapping[str, str]) -> Any:
    what = f"document {number} of {path} has no '{'.'.join(steps)}' any more"
    gone = InputError(what, "the file was changed since the run was submitted")
    section = next((s for s in sections(read_text(path), str(path)) if s.number == number), None)
    if section is None:
        raise gone
    expanded = Variables(environment, lenient=True).expand(section.blanked, section.origin)
    try:
        value = _at(_parse(expanded, section.origin).value, steps)
    except LookupError as error:
        raise gone from error
    for n, (name, offset) in enumerate(expanded.left):
        if f"{OPEN}{n}{CLOSE}" not in str(value):
            continue
        if name.startswith("time:"):
            hint = "take the whole secret from the environment, and put the time elsewhere"
            raise section.origin.error(
                "a secret that is written out cannot hold a time", hint, offset
            )
        raise unset(name, offset, section.origin)
    return value


def _span(text: str, place: yaml11.Place) -> tuple[int, int]:
    """Start and end of a value without its anchor and tag, and without the blank lines behind it."""
    properties = _PROPERTIES.match(text, place.start, place.stop)
    start = properties.end() if properties else place.start
    return start, start + len(text[start : place.stop].rstrip(" \t\r\n"))


def _literals(
    text: str, secret_paths: Sequence[str], where: str
) -> list[tuple[yaml11.Path, yaml11.Place]]:
    """Places in the text itself, in its order, each once."""
    blanked = blank_comments(text)
    # Variables are swapped for marks of the same length, so that offsets stay what they are.
    swapped = VARIABLE.sub(lambda match: _SWAPPED * len(match[0]), blanked)
    parsed = _parse(Expanded(swapped, [0], [(0, False)]), Origin(where, 1, text))
    patterns = [("spec", *p.lower().split(".")) for p in secret_paths]
    for path in parsed.twice:
        if any(_matches(path, pattern[: len(path)]) for pattern in patterns):
            message = f"'{path[-1]}' stands twice here, and may hold a secret"
            raise Origin(where, 1, text).error(message, "remove one", parsed.places[path].key)
    found = {
        place.start: (path, place)
        for path, place in parsed.places.items()
        if any(_matches(path, pattern) for pattern in patterns)
        and _is_literal(_at(parsed.value, path))
    }
    return [found[start] for start in sorted(found)]


def _matches(path: yaml11.Path, pattern: Sequence[str]) -> bool:
    return len(path) == len(pattern) and all(
        step == "*" or step == str(have) for have, step in zip(path, pattern, strict=True)
    )


def _is_literal(value: Any) -> bool:
    match value:
        case None | "":
            return False
        case str():
            return set(value) != {_SWAPPED}
        case dict():
            return any(map(_is_literal, value.values()))
        case list():
            return any(map(_is_literal, value))
        case _:
            return True


def _at(value: Any, path: Sequence[str | int]) -> Any:
    """The value at a path, keys without regard to case. Raises LookupError."""
    for step in path:
        if isinstance(value, dict):
            value = next((v for k, v in reversed(value.items()) if k.lower() == step), _NOTHING)
        elif isinstance(value, list):
            value = (
                value[int(step)] if str(step).isdecimal() and int(step) < len(value) else _NOTHING
            )
        else:
            value = _NOTHING
        if value is _NOTHING:
            raise LookupError(step)
    return value


_NOTHING = object()


def _parse(expanded: Expanded, origin: Origin) -> yaml11.Parsed:
    try:
        return yaml11.parse(expanded.text)
    except yaml11.YamlError as error:
        message = expanded.masked(error.message)
        raise origin.error(message, "", expanded.origin(error.offset)) from error
