"""Where the options of a plugin list what it asks, and the options that leave one of them.

CloudQuery's plugins take all accounts of a source at once, from a list in their own options:
`accounts`, `project_ids`, `contexts`. Each entry is a client, and what is cut for it is the document
that its process is given. A plugin that finds its accounts by itself is left whole.

    split("cloudquery/gcp", {"project_ids": ["a", "b"]})
    → clients a and b; spec_for("a") = {"project_ids": ["a"]}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.errors import InputError

NONE = "none"  # a hint: it is never split


@dataclass(frozen=True)
class Place:
    """A list in the options. `field`: of its entries, where they are mappings. `label`: what its ids
    begin with where a plugin has several lists, since one name may stand in two of them.
    """

    keys: tuple[str, ...]
    field: tuple[str, ...] = ()
    label: str = ""

    def __str__(self) -> str:
        entries = f"{'.'.join(self.keys)}[]"
        return f"{entries}.{'.'.join(self.field)}" if self.field else entries


@dataclass(frozen=True)
class Known:
    """Where a plugin has its clients.

    `alone`: options that add clients, or take some away, by rules that only the plugin knows.
    `inside`: a client of the first list holds those of the second whose name begins with its own and
    a slash, and the plugin reads such a pair otherwise than each of them by itself.
    """

    places: str
    alone: tuple[str, ...] = ()
    inside: bool = False


# From the options that CloudQuery documents for its plugins, and their Go types.
KNOWN: Mapping[str, Known] = {
    "alicloud": Known("accounts[].name"),
    # `id` is a name that the user chooses; `org` lists the members of an organisation.
    "aws": Known("accounts[].id", alone=("org",)),
    "azure": Known("subscriptions[]", alone=("skip_subscriptions",)),
    "cloudflare": Known("accounts[]", alone=("zones",)),
    "datadog": Known("accounts[].name"),
    "gcp": Known(
        "project_ids[]",
        alone=("folder_ids", "organization_ids", "project_filter", "organization_filter"),
    ),
    # A repository takes its organisation's place: the others of that organisation are left out.
    "github": Known("org:orgs[], repo:repos[]", inside=True),
    "k8s": Known("contexts[]"),
    "snyk": Known("organizations[]"),
}

_KEY = r"[^\s.,:\[\]]+"
_PLACE = re.compile(
    rf"(?:(?P<label>{_KEY}):)?(?P<keys>{_KEY}(?:\.{_KEY})*)\[\](?P<field>(?:\.{_KEY})*)"
)
_PATTERN = re.compile(r"[*?]|\$\{")  # what stands for something that only the plugin knows
# `cloudquery/gcp`, or its image: `docker.example.com/cloudquery/source-gcp:v1`.
_NAME = re.compile(r"(?:.*/)?cloudquery/(?:(?:cq-)?source-)?(?P<name>[a-z0-9_-]+)(?:[:@].*)?")


@dataclass(frozen=True)
class Whole:
    """Options that are not split, and why: a phrase."""

    why: str


@dataclass(frozen=True)
class Split:
    """The clients of a source, in the order of its options. `list`: the places that name them."""

    list: str
    clients: tuple[str, ...]
    _spec: Mapping[str, Any]
    _entries: Mapping[str, tuple[tuple[Place, int], ...]]  # client → its entries
    _places: tuple[Place, ...]

    def spec_for(self, client: str) -> dict[str, Any]:
        """The options with this client alone. Raises KeyError for a client that is none."""
        mine = self._entries[client]
        spec: dict[str, Any] = dict(self._spec)
        for place in self._places:
            held = _at(spec, place.keys)
            if held is not None:
                spec = _with(spec, place.keys, [held[n] for p, n in mine if p == place])
        return spec


def split(path: str, spec: Mapping[str, Any], hint: str = "") -> Split | None:
    """The clients in the options of the plugin at `path`; None: it is one client.

    `hint`: `plugins.NAME.clients` of the fleet document. Raises InputError for one that cannot be read.
    """
    found = look(path, spec, hint)
    return found if isinstance(found, Split) else None


def look(path: str, spec: Mapping[str, Any], hint: str = "") -> Split | Whole:
    """As `split`, with the reason where nothing is split."""
    known = _known(path, hint)
    if isinstance(known, Whole):
        return known
    for option in known.alone:
        if spec.get(option):
            return Whole(f"its option '{option}' decides whom it asks")
    places = _places(known.places)
    entries: dict[str, list[tuple[Place, int]]] = {}
    for place in places:
        held = _at(spec, place.keys)
        if held is None or held == []:
            continue
        if not isinstance(held, list):
            return Whole(f"'{'.'.join(place.keys)}' in its options is no list")
        for n, entry in enumerate(held):
            name = _name(entry, place)
            if isinstance(name, Whole):
                return name
            client = f"{place.label}:{name}" if place.label else name
            entries.setdefault(client, []).append((place, n))
    if not entries:
        return Whole(f"its options have no list {' or '.join(map(str, places))}")
    if known.inside and (both := _inside(list(entries), places)):
        return Whole(f"'{both}' in its options is also part of an entry of another list")
    kept = {client: tuple(mine) for client, mine in entries.items()}
    return Split(", ".join(map(str, places)), tuple(kept), spec, kept, places)


def _known(path: str, hint: str) -> Known | Whole:
    if hint == NONE:
        return Whole("the fleet document says that it is never split")
    if hint:
        return Known(hint)
    match = _NAME.fullmatch(path)
    found = KNOWN.get(match["name"]) if match else None
    return found or Whole("it is not known where its options list its clients")


def _places(text: str) -> tuple[Place, ...]:
    found = tuple(_parsed(text))
    if len({place.keys for place in found}) < len(found):
        raise InputError(
            f"the clients of a plugin are named twice by '{text}'", "name each list once"
        )
    return found


def _parsed(text: str) -> Iterator[Place]:
    for part in text.split(","):
        match = _PLACE.fullmatch(part.strip())
        if not match:
            raise InputError(
                f"the clients of a plugin cannot be found at '{text}'",
                "write the list and the field of its entries, like accounts[].id or project_ids[];"
                " several lists with names, like org:orgs[], repo:repos[]; or none",
            )
        field = match["field"].lstrip(".")
        yield Place(
            tuple(match["keys"].split(".")),
            tuple(field.split(".")) if field else (),
            match["label"] or "",
        )


def _name(entry: Any, place: Place) -> str | Whole:
    value = _at(entry, place.field) if place.field else entry
    # An account's number without quotes is a number to YAML.
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return Whole(f"an entry of {place} in its options is no name")
    name = str(value)
    if _PATTERN.search(name):
        return Whole(f"'{name}' of {place} in its options is filled in elsewhere")
    return name


def _inside(clients: Sequence[str], places: Sequence[Place]) -> str:
    """A client of the first list that holds one of the second; empty: none does."""
    outer, inner = (f"{place.label}:" for place in places)
    held = {c.removeprefix(inner).split("/")[0] for c in clients if c.startswith(inner)}
    return next(
        (c.removeprefix(outer) for c in clients if c.startswith(outer) and c[len(outer) :] in held),
        "",
    )


def _at(value: Any, keys: Sequence[str]) -> Any:
    """What stands there; None if nothing does."""
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def _with(spec: Mapping[str, Any], keys: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy of the options with another value there; what lies beside it is shared."""
    first, *rest = keys
    return {**spec, first: _with(spec[first], rest, value) if rest else value}
