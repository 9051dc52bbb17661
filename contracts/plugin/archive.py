"""The program out of a release: a zip file with one member that counts."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from contracts.errors import Permanent

_CHUNK = 1 << 20
_MOST = 4 << 30


def extract(archive: Path, members: Sequence[str], place: Path, what: str) -> None:
    """The first of the `members` that is there, into the file `place`. Raises Permanent."""
    try:
        with zipfile.ZipFile(archive) as opened:
            names = opened.namelist()
            found = next((name for name in members if name in names), None)
            if found is None:
                raise Permanent(
                    f"the release of {what} has no {members[0]}",
                    f"it has {', '.join(names[:10]) or 'nothing'}",
                )
            left = _MOST
            with opened.open(found) as member, place.open("wb") as file:
                while chunk := member.read(min(_CHUNK, left + 1)):
                    left -= len(chunk)
                    if left < 0:
                        raise Permanent(f"the program of {what} is larger than {_MOST >> 30} GiB")
                    file.write(chunk)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise Permanent(
            f"the release of {what} is no zip file that can be read: {error}"
        ) from error
