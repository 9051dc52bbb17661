"""One document: its text, its values, the place of each, and its model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from contracts.errors import InputError
from contracts.spec import Destination, Fleet, Source, Transformer
from contracts.specfile import yaml11
from contracts.specfile.origin import Origin, nearest
from contracts.specfile.pasted import VARIABLE, Expanded, broken_by, surprises
from contracts.specfile.split import Section, alone, blank_comments, comments
from contracts.specfile.validate import Path, validate
from contracts.specfile.variables import Resolve, Variables, leave_all, unset
from contracts.veil import VEIL

A_TIME = "\ue003"  # a character that no spec has

AnyModel = Source | Destination | Transformer | Fleet

MODELS: dict[str, type[AnyModel]] = {
    "source": Source,
    "destination": Destination,
    "transformer": Transformer,
    "fleet": Fleet,
}
# Expanded by the loader; the submitter need not have their credentials.
_LENIENT = frozenset({"destination", "transformer"})
_OPTIONS: Path = ("spec", "spec")
# What to write instead, by a part of the YAML library's message.
_HINTS = {
    "<document start>": "write `---` on a line of its own before it",
    "cannot start any token": "quote the value, and indent with blanks, never with tabs",
    "could not find expected ':'": "write `key: value`; a text of several lines needs `|` and an indent",
    "mapping values are not allowed": "indent the key as its neighbours are, or quote a value that holds `: `",
    "did not find expected key": "indent the key as its neighbours are, and close quotes and brackets",
    "did not find expected ',' or": "close the bracket, and put commas between its entries",
    "did not find expected '-' indicator": "indent every `-` of a list alike",
    "unexpected end of stream": "close the quotes",
    "the tag '": "leave the tag out",
    "is not allowed in YAML": "remove it, or write it as an escape in double quotes",
    "is not defined above": "write `&NAME` at the value that it stands for",
}
# Values that go to the stage as they were written, since their variables may hold secrets.
_PRIVATE: tuple[Path, ...] = (
    _OPTIONS,
    ("spec", "docker_registry_auth_token"),
    ("spec", "otel_endpoint"),
)


@dataclass(frozen=True, repr=False)
class SpecDocument:
    """A document as read here. `text` is what goes to the stage: without comments, times and names
    fixed, all other variables as they were written.
    """

    kind: str
    file: str
    line: int
    number: int  # in its file, from 1
    text: str
    model: AnyModel
    origin: Origin
    expanded: Expanded
    parsed: yaml11.Parsed
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:  # without values: they may be secrets
        return f"<{self.what} at {self.file}:{self.line}>"

    @property
    def name(self) -> str:
        return "" if isinstance(self.model, Fleet) else self.model.name

    @property
    def what(self) -> str:
        return f"{self.kind} '{self.name}'" if self.name else self.kind

    def at(self, path: Path) -> tuple[int, int]:
        """(line, column) of the value at a path such as ("spec", "tables", 0), or of what holds it."""
        return self.origin.position(self._offset(path, key=False))

    def where(self, path: Path) -> str:
        return self.origin.where(self._offset(path, key=False))

    def error(self, message: str, hint: str, path: Path, *, key: bool = False) -> InputError:
        """An error about the value at a path (or about its key), with no expanded value in it."""
        masked = self.expanded.masked
        return self.origin.error(masked(message), masked(hint), self._offset(path, key=key))

    def warning(self, message: str, path: Path) -> str:
        return self.origin.warning(self.expanded.masked(message), self._offset(path, key=False))

    def _offset(self, path: Path, *, key: bool) -> int:
        return _offset(self.parsed, self.expanded, path, key=key)


@dataclass(frozen=True)
class _Partial:
    """Places of a document whose model is not known yet."""

    origin: Origin
    expanded: Expanded
    parsed: yaml11.Parsed

    def error(self, message: str, hint: str, path: Path, *, key: bool = False) -> InputError:
        masked = self.expanded.masked
        offset = _offset(self.parsed, self.expanded, path, key=key)
        return self.origin.error(masked(message), masked(hint), offset)


def _offset(parsed: yaml11.Parsed, expanded: Expanded, path: Path, *, key: bool) -> int:
    steps = tuple(step.lower() if isinstance(step, str) else step for step in path)
    while steps and steps not in parsed.places:
        steps, key = steps[:-1], False
    place = parsed.places.get(steps)
    return expanded.origin((place.key if key else place.start) if place else 0)


def _extent(parsed: yaml11.Parsed, expanded: Expanded, path: Path) -> range:
    """Offsets of the original text that belong to the value at a path; empty if there is none."""
    place = parsed.places.get(path)
    if not place or place.stop <= place.start:
        return range(0)
    return range(expanded.origin(place.start), expanded.origin(place.stop - 1) + 1)


def read_document(
    section: Section,
    environment: Mapping[str, str],
    now: datetime,
) -> SpecDocument:
    """A document as the submitter reads it: times fixed, sources expanded, of destinations and
    transformers only what is set. Raises InputError.
    """
    variables = Variables(environment, now, lenient=True)
    document = _read(
        section.origin, section.blanked, "", section.number, variables, section.warnings
    )
    return replace(document, text=_stage_text(document, section.blanked))


def timeless(document: SpecDocument) -> SpecDocument:
    """With A_TIME in its `text` wherever a `${time:…}` was: what does not change while the clock goes on."""
    blanked = blank_comments(document.origin.text)
    return replace(document, text=_stage_text(document, blanked, A_TIME))


def _stage_text(document: SpecDocument, blanked: str, time: str | None = None) -> str:
    """The text without comments, its times fixed (or replaced by `time`); and its names too, since they must
    mean the same to every program. Everything else stays as it was written: variables may hold secrets.
    """
    private = [_extent(document.parsed, document.expanded, path) for path in _PRIVATE]
    if document.kind == "fleet":
        private = [range(len(blanked))]
    pasted = document.expanded.pasted_at()
    changes = [(start, stop, "") for start, stop in _cuts(document.origin.text)]
    for match in VARIABLE.finditer(blanked):
        value = pasted.get(match.start(), "")
        # Together with what stands beside it, the value must not make a variable of its own.
        looks = "${" in value or value.startswith("{") or value.endswith("$")
        kept = looks or any(match.start() in extent for extent in private)
        if time is not None and match[1].startswith("time:"):
            changes.append((*match.span(), time))
        elif match[1].startswith("time:") or not kept:
            changes.append((*match.span(), value))
    text: list[str] = []
    at = 0
    for start, stop, value in sorted(changes):
        text += [document.origin.text[at:start], value]
        at = stop
    return "".join([*text, document.origin.text[at:]])


def _cuts(text: str) -> Iterator[tuple[int, int]]:
    """Comments, with the blanks before them; of a line that is nothing else the `#` stays."""
    for comment, stop in comments(text):
        if alone(text, comment):
            yield comment + 1, stop
            continue
        start = comment
        while start and text[start - 1] in " \t":
            start -= 1
        yield start, stop


def read(
    text: str, environment: Mapping[str, str], where: str, secret: Resolve | None = None
) -> SpecDocument:
    """A document of the stage, fully expanded. `where` is its file, or file:line. Raises InputError."""
    file, _, line = where.rpartition(":")
    file, first = (file, int(line)) if file and line.isdecimal() else (where, 1)
    origin = Origin(file, first, text)
    variables = Variables(environment, secret=secret)
    return _read(origin, blank_comments(text), text, 1, variables, ())


def outline(text: str, where: str) -> tuple[str, dict[str, Any]]:
    """(kind, what is under `spec`, keys in lower case) of a document of the stage, all variables as
    they are written: for a program that must know a document's names but may not read its secrets.
    Raises InputError.
    """
    origin = Origin(where, 1, text)
    blanked = blank_comments(text)
    kind, body = _outer(_parsed(origin, leave_all(blanked), blanked))
    return kind, {key.lower(): value for key, value in (body or {}).items()}


def _read(
    origin: Origin,
    blanked: str,
    text: str,
    number: int,
    variables: Variables,
    warnings: tuple[str, ...],
) -> SpecDocument:
    expanded = variables.expand(blanked, origin)
    VEIL.remember(expanded.pasted)
    partial = _parsed(origin, expanded, blanked)
    parsed = partial.parsed
    kind, body = _outer(partial)
    _refuse_unset(kind, partial)
    # Empty values are Go's zero values, which the model's own rules then judge.
    model = validate(MODELS[kind], body, partial, ("spec",), _called(kind, body))
    found = sorted(
        [
            *surprises(blanked, expanded, variables.environment),
            *((expanded.masked(text), expanded.origin(at)) for text, at in parsed.warnings),
        ],
        key=lambda note: note[1],
    )
    if "kind" not in {key.lower() for key in parsed.value}:
        at = _offset(parsed, expanded, (), key=False)
        found.insert(0, ("a document without `kind` is read as a source: write kind: source", at))
    notes = [*warnings, *(origin.warning(text, at) for text, at in found)]
    return SpecDocument(
        kind, origin.file, origin.line, number, text, model, origin, expanded, parsed, tuple(notes)
    )


def _parsed(origin: Origin, expanded: Expanded, blanked: str) -> _Partial:
    try:
        parsed = yaml11.parse(expanded.text)
    except yaml11.YamlError as error:
        if expanded.left:  # it may be the missing value that breaks the text
            raise unset(*expanded.left[0], origin) from error
        message = expanded.masked(error.message)
        hint, at = broken_by(blanked, expanded, error.offset) or (
            next((hint for part, hint in _HINTS.items() if part in message), ""),
            expanded.origin(error.offset),
        )
        raise origin.error(message, hint, at) from error
    parsed.value = _restored(parsed.value, expanded)
    return _Partial(origin, expanded, parsed)


def _outer(partial: _Partial) -> tuple[str, Any]:
    """(kind, value of `spec`) of a document. Raises InputError."""
    document = partial.parsed.value
    if not isinstance(document, dict):
        message = "a document must be a mapping with `kind` and `spec`"
        raise partial.error(message, "write `kind: source` and `spec:` on lines of their own", ())
    found: dict[str, Any] = {}
    for key, value in document.items():
        if key.lower() not in {"kind", "spec"}:
            near = nearest(key, ("kind", "spec"))
            hint = f"did you mean '{near}'?" if near else "everything else goes below `spec:`"
            raise partial.error(f"unknown key '{key}' beside kind and spec", hint, (key,), key=True)
        found[key.lower()] = value
    kind = found.get("kind") or "source"
    if not isinstance(kind, str) or kind not in MODELS:
        shown = kind if isinstance(kind, str | int | float) else "…"
        near = nearest(str(shown), MODELS)
        hint = f"did you mean '{near}'?" if near else f"known kinds: {', '.join(MODELS)}"
        raise partial.error(f"unknown kind '{shown}'", hint, ("kind",))
    body = found.get("spec")
    if not isinstance(body, dict | None):
        hint = "write `key: value` lines below it"
        raise partial.error("`spec` must be a mapping", hint, ("spec",))
    return kind, body


def _refuse_unset(kind: str, partial: _Partial) -> None:
    """Unset variables are left alone only in the plugin's own options of a destination."""
    inside = _extent(partial.parsed, partial.expanded, _OPTIONS) if kind in _LENIENT else range(0)
    for name, offset in partial.expanded.left:
        if offset not in inside:
            raise unset(name, offset, partial.origin)


def _called(kind: str, body: Any) -> str:
    name = next((v for k, v in (body or {}).items() if k.lower() == "name"), None)
    return f"{kind} '{name}'" if isinstance(name, str) and name else kind


def _restored(value: Any, expanded: Expanded) -> Any:
    """Values with variables that were left alone written as they stood."""
    if not expanded.left:
        return value
    match value:
        case str():
            return expanded.restore(value)
        case list():
            return [_restored(v, expanded) for v in value]
        case dict():
            return {expanded.restore(k): _restored(v, expanded) for k, v in value.items()}
        case _:
            return value
