"""The project that a source of one's own begins as: files of this package, written into a directory."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from contracts.errors import InputError, Permanent


def write(directory: Path, *, overwrite: bool = False) -> tuple[Path, ...]:
    """The files that were written. Raises InputError if one is there, Permanent if it cannot be written."""
    found = {directory / place: text for place, text in _files()}
    there = [path for path in found if path.exists()]
    if there and not overwrite:
        raise InputError(
            f"{there[0]} is there already", "write --yes to overwrite it, or name another directory"
        )
    for path, text in found.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise Permanent(f"{path} cannot be written: {error.strerror}") from error
    return tuple(found)


def _files() -> Iterator[tuple[str, str]]:
    yield from _below(files("sharder") / "plugin_template", "")


def _below(place: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in sorted(place.iterdir(), key=lambda e: e.name):
        if entry.is_file():
            yield f"{prefix}{entry.name}", entry.read_text(encoding="utf-8")
        elif not entry.name.startswith(("_", ".")):
            yield from _below(entry, f"{prefix}{entry.name}/")
