"""Where a table's files lie: CloudQuery's path templates, filled so that publishing again overwrites itself.

Everything that a placeholder stands for is one path segment, so that no name of a table and no id of a
sync leads out of its prefix. Times are those of the run, not of the moment when a file is opened: the files
of one run never straddle partitions.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

from contracts.errors import InputError

PLACEHOLDERS = (
    "TABLE", "TABLE_HYPHEN", "FORMAT", "UUID", "SYNC_ID", "YEAR", "MONTH", "DAY", "HOUR", "MINUTE",
)  # fmt: skip
PROBE = {"table": "TEST_TABLE", "uuid": "TEST_UUID"}  # CloudQuery's names
OWN = "_sharder"  # what readers of data lakes skip: names that begin with an underscore

_UUIDS = UUID("b7f3c8de-5a0d-5f0e-9c41-0d8f3a6c2e17")
_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_ODD = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST = 150  # bytes of one name: a file name has 255, and other placeholders stand beside it


def segment(name: str) -> str:
    """A name as part of a path: letters, digits and `_.-` stay, and no name begins with a dot.

    Any other name has `_` for what is odd, is cut, and ends in a hash of the whole, so that two of them differ.
    """
    plain = _ODD.sub("_", name)
    if name and plain == name and not name.startswith(".") and len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"_{plain[1:]}"[: _LONGEST - 9] + f"_{digest}" if plain[:1] in {"", "."} else (
        f"{plain[: _LONGEST - 9]}_{digest}"
    )  # fmt: skip


def file_uuid(*parts: str | int) -> str:
    """The `{{UUID}}` of (run, round, source, table, sequence)."""
    return str(uuid5(_UUIDS, json.dumps(parts)))


@dataclass(frozen=True)
class Run:
    """What the names of a run's files are made of. `at` is its sync time, UTC."""

    run: str
    at: datetime
    sync_id: str = ""


@dataclass(frozen=True)
class Template:
    """`text` is a checked path below the store's root; `format` stands for `{{FORMAT}}`."""

    text: str
    format: str

    @property
    def fixed(self) -> bool:
        """Every load of a run writes a table to one name, whatever its round."""
        return not self.has("UUID")

    @property
    def lasting(self) -> bool:
        """The name is the same for every run: what was written can be found again."""
        return not any(self.has(p) for p in ("UUID", "SYNC_ID", "YEAR", "MONTH", "DAY", "HOUR", "MINUTE"))  # fmt: skip

    @property
    def static(self) -> str:
        """The directory that holds everything: empty, or with a slash at its end."""
        before = self.text.partition("{{")[0]
        return before[: before.rfind("/") + 1]

    def has(self, placeholder: str) -> bool:
        return f"{{{{{placeholder}}}}}" in self.text

    def key(self, table: str, run: Run, uuid: str = "") -> str:
        return fill(self.text, {
            "TABLE": segment(table), "TABLE_HYPHEN": segment(table.replace("_", "-")),
            "FORMAT": self.format, "UUID": uuid, "SYNC_ID": segment(run.sync_id or run.run),
            "YEAR": f"{run.at:%Y}", "MONTH": f"{run.at:%m}", "DAY": f"{run.at:%d}",
            "HOUR": f"{run.at:%H}", "MINUTE": f"{run.at:%M}",
        })  # fmt: skip

    def key_of(self, run: Run, round_: int, source: str, table: str, sequence: int) -> str:
        """The name of file n of a load's table."""
        return self.key(table, run, file_uuid(run.run, round_, source, table, sequence))

    def probe(self, run: Run) -> str:
        return self.key(PROBE["table"], run, PROBE["uuid"])


def fill(text: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)


def with_layout(path: str, *, no_rotate: bool) -> str:
    """CloudQuery's default layout below a path that does not say where the table goes."""
    path = _PLACEHOLDER.sub(lambda found: f"{{{{{found[1]}}}}}", path)
    if "{{TABLE}}" in path or "{{TABLE_HYPHEN}}" in path:
        return path
    return f"{path}/{{{{TABLE}}}}.{{{{FORMAT}}}}" + ("" if no_rotate else ".{{UUID}}")


def check_placeholders(path: str) -> None:
    """Raises ValueError for a placeholder that nothing would be put into."""
    for name in _PLACEHOLDER.findall(path):
        if name not in PLACEHOLDERS:
            known = ", ".join(f"{{{{{p}}}}}" for p in PLACEHOLDERS)
            raise ValueError(
                f"`path` has the unknown placeholder {{{{{name}}}}}; there are {known}"
            )
    if "{" in (left := _PLACEHOLDER.sub("", path)) or "}" in left:
        raise ValueError("`path` has a brace that is not part of a placeholder such as {{TABLE}}")


def check_normal(path: str) -> None:
    """A key of a bucket. Raises ValueError unless it is in normal form."""
    if path.startswith("/"):
        raise ValueError("`path` must not start with '/': keys of a bucket have no root")
    if posixpath.normpath(path) != path or path.startswith("..") or "\0" in path:
        raise ValueError(
            "`path` must be in normal form: no '.', no '..', no '//' and no '/' at its end"
        )


def split_directory(path: str) -> tuple[str, str]:
    """(directory, template below it) of a path in a file system. Raises ValueError if it could lead out of it."""
    before = path.partition("{{")[0]
    at = before.rfind("/") + 1
    directory, below = path[:at], path[at:]
    if any(part in {"", ".", ".."} for part in below.split("/")) or "\0" in path:
        raise ValueError("`path` must not have '.', '..' or '//' behind its first placeholder")
    return directory or ".", below


def refuse_same_names(template: Template, run: Run, tables: Mapping[tuple[str, str], str]) -> None:
    """`tables`: (source, table) → how it is told. Raises InputError if two would be written to one name.

    With {{UUID}} in the path no two are: it is made of source and table.
    """
    if not template.fixed:
        return
    taken: dict[str, tuple[str, str]] = {}
    for found, told in tables.items():
        key = template.key(found[1], run).casefold()  # some file systems take two for one
        other = taken.setdefault(key, found)
        if other != found:
            raise InputError(
                f"{tables[other]} and {told} would be written to one name: {template.key(found[1], run)}; "
                "nothing was written",
                "put {{UUID}} into `path` and leave out no_rotate, or give each source a destination",
            )
