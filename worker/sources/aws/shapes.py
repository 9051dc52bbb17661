"""What botocore's models say: types of columns, members below a path, paging, page sizes.

Only the compiler uses this; a worker reads the lock instead.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Any

import botocore.session
from botocore.exceptions import UnknownServiceError
from botocore.loaders import DataNotFoundError

from contracts.errors import Permanent
from worker.sources.aws.locked import Paging
from worker.sources.aws.naming import field_name

_FLAT = {
    "string": "string",
    "character": "string",
    "boolean": "bool",
    "byte": "int64",
    "short": "int64",
    "integer": "int64",
    "long": "int64",
    "float": "double",
    "double": "double",
    "timestamp": "timestamp[us, tz=UTC]",
    "blob": "binary",
}
TIMESTAMP = _FLAT["timestamp"]
# The same inside of JSON, as CloudQuery names them; bytes are text there, and nested values stay JSON.
_HELD = {
    "string": "utf8",
    "double": "float64",
    "int64": "int64",
    "bool": "bool",
    TIMESTAMP: TIMESTAMP,
}
# Token members by name, for paged operations that botocore ships no paginator for: (input, output).
_TOKENS = (
    ("NextToken", "NextToken"),
    ("nextToken", "nextToken"),
    ("NextPageToken", "NextPageToken"),
    ("nextPageToken", "nextPageToken"),
    ("PageToken", "NextPageToken"),
    ("pageToken", "nextPageToken"),
    ("Marker", "NextMarker"),
    ("marker", "nextMarker"),
    ("Marker", "Marker"),
    ("marker", "marker"),
    ("ContinuationToken", "NextContinuationToken"),
    ("ContinuationToken", "ContinuationToken"),
    ("NextMarker", "NextMarker"),
    ("PaginationToken", "PaginationToken"),
    ("position", "position"),
)
_SENTENCE = re.compile(r"(?<=[.!?])\s")
_TAG = re.compile(r"<[^>]+>")
_ABOUT = 140  # characters of a column's description that the lock keeps


@lru_cache(maxsize=1)
def session() -> Any:
    return botocore.session.Session()


@cache
def service(name: str) -> Any:
    """The model of a service. Raises Permanent if botocore has none (any more)."""
    try:
        return session().get_service_model(name)
    except UnknownServiceError as error:
        raise Permanent(f"botocore has no service {name!r}") from error


def operation(name: str) -> Any:
    """The model of `service.Operation`."""
    service_name, _, op = name.partition(".")
    model = service(service_name)
    if op not in model.operation_names:
        raise Permanent(f"botocore's {service_name} has no operation {op!r}")
    return model.operation_model(op)


def members(shape: Any) -> Mapping[str, Any]:
    return shape.members if shape is not None and shape.type_name == "structure" else {}


def below(shape: Any, path: str) -> Any:
    """The shape that a path leads to; `[]` steps into a list. Raises Permanent if there is none."""
    for part in filter(None, path.split(".")):
        name = part.removesuffix("[]")
        try:
            shape = members(shape)[name]
        except KeyError as error:
            known = ", ".join(members(shape)) or "no members"
            raise Permanent(f"no member {name!r} on the path {path!r}: {known}") from error
        if part.endswith("[]"):
            if shape.type_name != "list":
                raise Permanent(f"{name!r} on the path {path!r} is a {shape.type_name}, not a list")
            shape = shape.member
    return shape


def type_name(shape: Any) -> str | dict[str, Any]:
    """The type of a column in our documents: scalars, lists of scalars, JSON for all else."""
    if flat := _flat(shape):
        return flat
    if shape.type_name == "list" and (element := _flat(shape.member)):
        return {"list": ["item", element, True]}
    return "json"


def _flat(shape: Any) -> str | None:
    return None if getattr(shape, "is_document_type", False) else _FLAT.get(shape.type_name)


def names(shape: Any, seen: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """Which keys of a JSON value get a capital: member → the same below it, `*` for values of a map.

    None where nothing changes. Lists are passed through; recursive shapes end where they repeat.
    """
    if shape.name in seen or getattr(shape, "is_document_type", False):
        return None
    seen = (*seen, shape.name)
    if shape.type_name == "list":
        return names(shape.member, seen)
    if shape.type_name == "map":
        values = names(shape.value, seen)
        return {"*": values} if values else None
    tree = {m: names(s, seen) for m, s in members(shape).items()}
    return {m: t for m, t in tree.items() if t or m != field_name(m)} or None


def holds(shape: Any) -> dict[str, str]:
    """Keys of a structure's JSON and their types; empty for what has no keys of its own."""
    if shape.type_name != "structure" or getattr(shape, "is_document_type", False):
        return {}
    found = members(shape).items()
    return {field_name(m): _HELD.get(_flat(s) or "", "json") for m, s in found}


def sensitive(shape: Any) -> bool:
    """Whether AWS says that values may be secrets."""
    return bool(shape.metadata.get("sensitive"))


def about(shape: Any) -> str:
    """The first sentence of a member's documentation, as plain text."""
    text = " ".join(html.unescape(_TAG.sub(" ", shape.documentation or "")).split())
    sentence = _SENTENCE.split(text, maxsplit=1)[0].replace(" ,", ",").replace(" .", ".")
    return sentence if len(sentence) <= _ABOUT else sentence[: _ABOUT - 1].rstrip() + "…"


def paginator(name: str) -> Mapping[str, Any]:
    """Botocore's paginator of an operation, or an empty mapping."""
    service_name, _, op = name.partition(".")
    try:
        loader = session().get_component("data_loader")
        pages = loader.load_service_model(service_name, "paginators-1")["pagination"]
    except (DataNotFoundError, UnknownServiceError):
        return {}
    found: Mapping[str, Any] = pages.get(op, {})
    return found


def paging(name: str) -> Paging | None:
    """How an operation is read on: its paginator's tokens, else a pair of token members."""
    pages = paginator(name)
    if pages:
        return Paging(
            send=_texts(pages["input_token"]),
            take=_texts(pages["output_token"]),
            more=pages.get("more_results", ""),
        )
    model = operation(name)
    inputs, outputs = members(model.input_shape), members(model.output_shape)
    for send, take in _TOKENS:
        if send in inputs and take in outputs and inputs[send].type_name == "string":
            return Paging(send=(send,), take=(take,))
    return None


def page_size(name: str, limit: int) -> dict[str, Any]:
    """The input that sets the page size, at its model's maximum or else at `limit`; may be empty."""
    inputs = members(operation(name).input_shape)
    usual = ("MaxResults", "maxResults", "MaxItems", "Limit", "limit", "PageSize", "MaxRecords")
    key = paginator(name).get("limit_key") or next((k for k in usual if k in inputs), "")
    if key not in inputs or paging(name) is None:
        return {}
    size = inputs[key].metadata.get("max") or limit
    if not size:
        return {}
    return {key: str(size) if inputs[key].type_name == "string" else int(size)}


def rows_path(name: str) -> str:
    """Where an operation's rows are: the paginator's only result key, else its first list."""
    output = operation(name).output_shape
    if isinstance(key := paginator(name).get("result_key"), str) and key in members(output):
        return f"{key}[]"
    lists = [m for m, s in members(output).items() if s.type_name == "list"]
    of_structures = [m for m in lists if output.members[m].member.type_name == "structure"]
    if not lists:
        raise Permanent(f"{name} returns no list", "say where its rows are: rows: …")
    return f"{(of_structures or lists)[0]}[]"


def regions_of(service_name: str) -> Iterator[str]:
    """The regions in which endpoints.json knows a service; nothing if it lists none."""
    for partition in session().get_available_partitions():
        yield from session().get_available_regions(service_name, partition)


def _texts(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
