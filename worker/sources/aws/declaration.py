"""The language of `tables/*.yaml`: what a table's line may say, and the small grammar of its calls.

A call reads `Op(Input=source, …)path|transform!ErrorCode`. A source is a member of the row, `.` (the
listed item itself), `^column` (of the parent row), or `'text'`; `source*20` batches twenty rows into one
call. The path picks from the output: `.Member`, `@` (all of it), `.List[]` (its elements replace the
row), `.Map{}` (a map of text becomes the row), `.List[Key].Member` (elements found again by Key).
Error codes after `!` mean "there is none".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.errors import Permanent

Shape = Literal["one", "whole", "many", "spread", "keyed"]

_CALL = re.compile(
    r"(?P<op>\w+)\((?P<args>[^)]*)\)(?P<path>@|\.[^|!]+)?(?:\|(?P<fn>[^!]+))?(?P<miss>(?:![\w.]+)*)"
)
_KEYED = re.compile(r"(?P<list>[\w.]+)\[(?P<key>\w+)\](?:\.(?P<rest>[\w.]+))?")
_UP = re.compile(r"(?P<table>\w+)\((?P<args>[^)]*)\)")


@dataclass(frozen=True)
class Spoken:
    """A call as declared. `batch` is the input that takes up to `size` rows at once, if any."""

    op: str
    args: dict[str, str]
    batch: str = ""
    size: int = 0
    shape: Shape = "one"
    path: str = ""
    key: str = ""
    transform: str = ""
    absent: tuple[str, ...] = ()


class Declared(BaseModel):
    """One table's line. Every key but `op` has a default; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    op: str  # service.Operation
    hook: str = ""  # Python that produces the rows instead of `op`
    calls: list[str] = []  # operations that the hook makes besides `op`
    rows: str = ""  # default: the paginator's result key, or the first list
    par: dict[str, Any] = {}  # constant inputs; `$name` is worked out when it is called
    limit: int = 0  # page size where the model states no maximum
    each: str = ""  # a call per listed item, whose output replaces it
    eachpar: dict[str, Any] = {}
    unwrap: list[str] = []  # structures whose members become columns
    scope: Literal["", "account", "region"] = ""
    own: Literal["", "request"] = ""  # account_id and region are called request_…
    arn: str = ""
    pk: list[str] = ["arn"]
    tags: str = ""  # the member that holds the tags, where it is not called so
    add: dict[str, str] = {}  # column → call
    merge: str = ""  # a second structure whose members become columns
    prefix: str = ""  # of the merged columns
    also: dict[str, str] = {}  # column → path|transform
    ren: dict[str, str] = {}  # column → other name
    cast: dict[str, str] = {}  # column → type
    cols: dict[
        str, str
    ] = {}  # member → type, where the model has only a map; `*` collects the rest
    skip: list[str] = []  # columns left out
    up: str = ""  # parent(Input=column, …)
    copy_: dict[str, str] = {}  # column → column of the parent
    at: str = ""  # the column (of a child: of its parent) that holds the region to call
    miss: list[str] = []  # error codes that mean "there is none"
    paid: bool = False
    about: str = ""  # the table's description, where the operation's own does not do


def spoken(text: str) -> Spoken:
    """Parse a call. Raises Permanent if it does not follow the grammar."""
    found = _CALL.fullmatch(text)
    if found is None:
        raise Permanent(f"not a call: {text!r}", "write Op(Input=member).Path|transform!ErrorCode")
    args, batch, size = _args(found["args"])
    shape, path, key = _path(found["path"] or "@")
    absent = tuple(code for code in found["miss"].split("!") if code)
    return Spoken(found["op"], args, batch, size, shape, path, key, found["fn"] or "", absent)


def parent(text: str) -> tuple[str, dict[str, str]]:
    """`table(Input=column, …)` → the parent's name, and the inputs taken from its row."""
    found = _UP.fullmatch(text)
    if found is None:
        raise Permanent(f"not a parent: {text!r}", "write table(Input=column)")
    return found["table"], _args(found["args"])[0]


def declared(document: str, where: str) -> dict[str, Declared]:
    """The tables of one YAML text, in its order. Raises Permanent that names file and table."""
    try:
        lines = yaml.safe_load(document)
        renamed = {
            t: {_PYTHON.get(k, k): v for k, v in facts.items()} for t, facts in lines.items()
        }
        return {table: Declared.model_validate(facts) for table, facts in renamed.items()}
    except (yaml.YAMLError, ValidationError, AttributeError) as error:
        raise Permanent(f"{where}: not a list of tables: {error}") from error


_PYTHON = {"copy": "copy_"}  # a pydantic model has a method of that name


def everything() -> Iterator[tuple[str, dict[str, Declared]]]:
    """(service file's stem, its tables) of every file in `tables/`, by name."""
    folder = files("worker.sources.aws") / "tables"
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if file.name.endswith(".yaml"):
            yield file.name.removesuffix(".yaml"), declared(file.read_text("utf-8"), file.name)


def _args(text: str) -> tuple[dict[str, str], str, int]:
    args: dict[str, str] = {}
    batch, size = "", 0
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, source = part.partition("=")
        source, star, count = source.partition("*")
        args[name] = source
        if star:
            batch, size = name, int(count)
    return args, batch, size


def _path(text: str) -> tuple[Shape, str, str]:
    if text == "@":
        return "whole", "", ""
    path = text.removeprefix(".")
    if path.endswith("[]"):
        return "many", path, ""
    if path.endswith("{}"):
        return "spread", path.removesuffix("{}"), ""
    if keyed := _KEYED.fullmatch(path):
        rest = f":{keyed['rest']}" if keyed["rest"] else ""
        return "keyed", f"{keyed['list']}[]{rest}", keyed["key"]
    return "one", path, ""
