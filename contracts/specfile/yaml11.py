"""YAML 1.1 as CloudQuery reads it (Go's yaml.v2, then JSON), with the place of every value.

Differs from PyYAML's own reading in its scalars (`contracts.specfile.scalars`) and in that keys are
always text. A document is built from parser events without recursion deeper than `DEEPEST`, since libyaml's
own composer crashes the process on deep nesting.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

from contracts.specfile.scalars import scalar

DEEPEST = 100
_MOST = 100_000  # values that aliases may add to a document

_TAG = "tag:yaml.org,2002:"
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Path = tuple[str | int, ...]


class YamlError(Exception):
    """The text is not YAML that we read; `offset` says where."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message, offset)
        self.message = message
        self.offset = offset


@dataclass(frozen=True)
class Place:
    """Offsets of one value: its key (or dash), its start, its end."""

    key: int
    key_end: int
    start: int
    stop: int


@dataclass
class Parsed:
    """A document's value; places by path, keys in lower case; warnings as (message, offset)."""

    value: Any
    places: dict[Path, Place] = field(default_factory=dict)
    warnings: list[tuple[str, int]] = field(default_factory=list)
    twice: list[Path] = field(
        default_factory=list
    )  # keys of which an earlier value is not in `value`


@dataclass(frozen=True)
class _Node:
    kind: str  # scalar, list, map
    value: Any  # text, or nodes, or pairs of nodes
    start: int
    stop: int
    plain: bool = False
    tag: str = ""


def parse(text: str) -> Parsed:
    """Raises YamlError for everything that is not one document."""
    if bad := _UNPRINTABLE.search(text):
        raise YamlError(f"the character {bad[0]!r} is not allowed in YAML", bad.start())
    try:
        composer = _Composer(text)
        node = composer.document()
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        message = ", ".join(p for p in (error.context, error.problem) if p)
        raise YamlError(f"not YAML: {message}", mark.index if mark else 0) from error
    except yaml.YAMLError as error:
        raise YamlError(f"not YAML: {error}", 0) from error
    return _Builder(Parsed(None), composer.nodes).built(node)


def _stop(event: Any) -> int:
    return int(event.end_mark.index)


_UNKNOWN = _Node("scalar", "", 0, 0)


class _Composer:
    """Nodes from parser events, aliases resolved to the node they name."""

    def __init__(self, text: str) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        self._next: Callable[[], Any] = loader.get_event
        self._anchors: dict[str, _Node | None] = {}
        self.nodes = 0

    def document(self) -> _Node:
        self._next()  # start of the stream
        if isinstance(self._next(), yaml.StreamEndEvent):  # else the start of a document
            return _Node("scalar", "", 0, 0, plain=True)
        node = self._node(self._next(), 0)
        self._next()  # end of the document
        event: Any = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            message = "a second document begins here; CloudQuery would lose it"
            raise YamlError(f"{message}; write `---` on a line of its own", event.start_mark.index)
        return node

    def _node(self, event: Any, depth: int) -> _Node:
        start = event.start_mark.index
        self.nodes += 1
        if depth > DEEPEST:
            raise YamlError(f"nested more than {DEEPEST} levels deep", start)
        if isinstance(event, yaml.AliasEvent):
            known = self._anchors.get(str(event.anchor), _UNKNOWN)
            if known is None or known is _UNKNOWN:
                what = "contains itself" if known is None else "is not defined above it"
                raise YamlError(f"the anchor '{event.anchor}' {what}", start)
            return known
        if event.anchor:
            self._anchors[event.anchor] = None
        tag = (event.tag or "").removeprefix(_TAG) if event.tag != "!" else "str"
        if isinstance(event, yaml.ScalarEvent):
            plain, stop = bool(event.implicit[0]), _stop(event)
            node = _Node("scalar", event.value, start, stop, plain, tag)
        elif isinstance(event, yaml.SequenceStartEvent):
            nodes, stop = self._until(yaml.SequenceEndEvent, depth)
            node = _Node("list", nodes, start, stop, tag=tag)
        else:
            nodes, stop = self._until(yaml.MappingEndEvent, depth)
            pairs = list(zip(nodes[::2], nodes[1::2], strict=True))
            node = _Node("map", pairs, start, stop, tag=tag)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _until(self, end: type[Any], depth: int) -> tuple[list[_Node], int]:
        nodes: list[_Node] = []
        event = self._next()
        while not isinstance(event, end):
            nodes.append(self._node(event, depth + 1))
            event = self._next()
        return nodes, _stop(event)


class _Builder:
    """Values from nodes: scalars read as Go reads them, merge keys applied, places noted."""

    def __init__(self, parsed: Parsed, nodes: int) -> None:
        self._parsed = parsed
        self._most = nodes * 2 + _MOST  # `nodes` stand in the text itself
        self._count = 0

    def _check(self, node: _Node) -> None:
        if self._count > self._most:
            raise YamlError(f"the aliases add more than {_MOST:,} values", node.start)

    def built(self, node: _Node) -> Parsed:
        self._parsed.value = self._value(node, (), node.start, node.start)
        return self._parsed

    def _value(self, node: _Node, path: Path, key: int, key_end: int) -> Any:
        self._count += 1
        self._check(node)
        self._parsed.places[path] = Place(key, key_end, node.start, node.stop)
        if node.kind == "scalar":
            return self._scalar(node)
        if node.tag not in {"", "seq", "map"}:
            raise YamlError(f"the tag '{node.tag}' is not supported", node.start)
        if node.kind == "list":
            items = enumerate(node.value)
            return [self._value(n, (*path, i), n.start, n.start) for i, n in items]
        return self._mapping(node, path)

    def _mapping(self, node: _Node, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        first: dict[str, str] = {}
        for key, value in self._merged(node, 0):
            if key.kind != "scalar":
                raise YamlError("a key must be a plain text", key.start)
            name = self._key(key)
            if (earlier := first.get(name.lower())) is not None:
                message = f"the key '{name}' stands twice in the same mapping; this one counts"
                self._parsed.warnings.append((message, key.start))
                self._parsed.twice.append((*path, name.lower()))
                found.pop(earlier)
            first[name.lower()] = name
            found[name] = self._value(value, (*path, name.lower()), key.start, key.stop)
        return found

    def _merged(self, node: _Node, depth: int) -> list[tuple[_Node, _Node]]:
        """Pairs of a mapping; those merged in by `<<` come first and give way to its own."""
        own = [(k, v) for k, v in node.value if not _is_merge(k)]
        names = {_name(k) for k, _ in own}
        merged: list[tuple[_Node, _Node]] = []
        for key, value in node.value:
            if not _is_merge(key):
                continue
            self._count += len(own) + 1
            self._check(key)
            if depth > DEEPEST:
                raise YamlError("merge keys are nested too deeply", key.start)
            for source in value.value if value.kind == "list" else [value]:
                if source.kind != "map":
                    raise YamlError("`<<` takes a mapping or a list of mappings", key.start)
                for k, v in self._merged(source, depth + 1):
                    if (name := _name(k)) not in names:
                        names.add(name)
                        merged.append((k, v))
        return merged + own

    def _key(self, node: _Node) -> str:
        """Keys pass through JSON on CloudQuery's side, so `on:` is the key `true`."""
        value = self._scalar(node)
        match value:
            case str():
                return value
            case None:
                name = "null"
            case bool():
                name = "true" if value else "false"
            case _:
                return str(value)
        if node.value.lower() != name:
            message = f"the key '{node.value}' is read as '{name}': quote it if it is a name"
            self._parsed.warnings.append((message, node.start))
        return name

    def _scalar(self, node: _Node) -> Any:
        text: str = node.value
        if node.tag not in {"", "str", "int", "float", "bool", "null", "timestamp"}:
            raise YamlError(f"the tag '{node.tag}' is not supported", node.start)
        if node.tag in {"str", "timestamp"} or (not node.plain and not node.tag):
            return text
        value, warning = scalar(text)
        if warning:
            self._parsed.warnings.append((warning, node.start))
        if isinstance(value, float) and not math.isfinite(value):
            raise YamlError(f"'{text}' is not a number that JSON can hold; quote it", node.start)
        return value


def _name(key: _Node) -> str:
    return key.value.lower() if isinstance(key.value, str) else ""


def _is_merge(key: _Node) -> bool:
    return key.kind == "scalar" and key.plain and key.value == "<<"
