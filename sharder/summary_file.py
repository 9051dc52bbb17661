"""`--summary-location`: one JSON line per source and destination, appended when the round is concluded.

A line is one write, so that commands which share a file do not mix their lines. A round is in the file
once, however often its summary is told; and the file is opened before the run starts, because that is the
moment at which a wrong path can still be told for free. At the end it can only be a warning.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from contracts.errors import Exit, InputError, SharderError
from contracts.plan import Plan
from contracts.spec import Source
from contracts.specfile import LoadedSpec
from contracts.summary import Summary
from contracts.sync import SyncSummary, syncs
from sharder.summary import release

_KEY = ("run", "round", "source_name", "destination_name")


def check(location: str) -> None:
    """Make the folders and the file. Raises InputError if it cannot be written to."""
    if not location:
        return
    try:
        Path(location).parent.mkdir(parents=True, exist_ok=True)
        os.close(_opened(location))
    except OSError as error:
        raise InputError(
            f"--summary-location {location}: {reason(error)}",
            "name a file in a folder that this user may write to",
        ) from error


def reason(error: OSError) -> str:
    """Why a file cannot be made; where its folder is a file, the system only says that it exists."""
    return "Not a directory" if isinstance(error, FileExistsError) else error.strerror or str(error)


def write(location: str, plan: Plan, summary: Summary) -> str:
    """Append the lines of a closed round that are not there yet; returns why that was not possible."""
    return _append(location, syncs(plan, summary, _groups(plan)))


def write_failed(
    location: str,
    loaded: LoadedSpec,
    chosen: Sequence[Source],
    run: str,
    sync_id: str,
    at: datetime,
    ended: datetime,
    error: SharderError,
) -> str:
    """Append lines for a run that ended before it had a plan: no resource, and the reason."""
    return _append(
        location,
        (
            SyncSummary(
                cli_version=release(),
                sync_id=sync_id or run,
                sync_time=at,
                sync_duration_ms=round((ended - at).total_seconds() * 1000),
                source_name=source.name,
                source_path=source.path,
                source_version=source.version,
                source_tables=source.tables,
                destination_name=name,
                destination_path=loaded.spec.destination(name).path,
                destination_version=loaded.spec.destination(name).version,
                run=run,
                round=0,
                exit_code=int(error.exit_code),
                complete=False,
                error=str(error),
            )
            for source in chosen
            for name in source.destinations
        ),
    )


class Unplanned(AbstractContextManager["Unplanned"]):
    """The time until a run has its plan: what ends it then is in no summary, and so written from here."""

    def __init__(
        self,
        location: str,
        loaded: LoadedSpec,
        chosen: Sequence[Source],
        run: str,
        sync_id: str,
        at: datetime,
        say: Callable[[str], None],
    ) -> None:
        self._of = (loaded, chosen, run, sync_id, at)
        self._location, self._say = location, say
        self._planned = False

    def planned(self) -> None:
        """From now on the run can be resumed, and has its lines when it is closed."""
        self._planned = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        # A wrong spec and somebody else's lease are no runs that failed.
        if self._planned or not isinstance(error, SharderError) or error.exit_code != Exit.OUTSIDE:
            return
        if why := write_failed(self._location, *self._of, datetime.now(UTC), error):
            self._say(f"warning: {why}")


def _groups(plan: Plan) -> dict[str, str]:
    """Destination → its sync group, filled in as the loader does."""
    from loader.target import sync_group

    sync_id = plan.sync_id or plan.run
    return {
        d.name: sync_group(d.sync_group_id, sync_id, plan.sync_time)
        for d in plan.destinations
        if d.sync_group_id
    }


def _append(location: str, found: Iterable[SyncSummary]) -> str:
    if not location:
        return ""
    lines = [s.to_line() for s in found]
    try:
        there = set(_keys(location, lines[0]["run"])) if lines else set()
        handle = _opened(location)
        try:
            for line in lines:
                if not line["round"] or tuple(line[name] for name in _KEY) not in there:
                    _write_whole(handle, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        finally:
            os.close(handle)
    except OSError as error:
        return f"the summary was not written to {location}: {reason(error)}"
    return ""


def _write_whole(handle: int, line: bytes) -> None:
    """One write; only a disk that is full takes less than all of it."""
    written = os.write(handle, line)
    if written < len(line):
        raise OSError(f"only {written} of {len(line)} bytes were taken")


def _keys(location: str, run: str) -> Iterator[tuple[Any, ...]]:
    """Keys of the lines of this run that are in the file; what is no line of ours is passed over."""
    if not Path(location).is_file():  # a pipe or a terminal remembers nothing
        return
    needle = orjson.dumps(run)
    with Path(location).open("rb") as lines:
        for line in lines:
            if needle not in line:
                continue
            try:
                document = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if isinstance(document, dict) and document.get("run") == run:
                yield tuple(document.get(name) for name in _KEY)


def _opened(location: str) -> int:
    return os.open(location, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
