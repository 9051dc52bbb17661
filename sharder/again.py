"""What `submit --run-id` says of a run that is there already: it goes on as it was submitted.

Who repeats a command means the same run. Who asks for something else under the same name is refused: it would
not be run, and the old run's summary would pass for its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from contracts import layout
from contracts.errors import InputError, NotFound
from contracts.specfile import LoadedSpec
from contracts.specfile.document import A_TIME, SpecDocument, timeless
from contracts.stage import Stage
from sharder import check
from sharder.wishes import Wishes


def told(stage: Stage, run: str, loaded: LoadedSpec, wishes: Wishes, *, sealed: bool) -> str:
    """What becomes of the run. `sealed`: as its spec was stored.

    Raises InputError if its first round was asked for with another spec, or with flags that shaped another plan.
    """
    rounds = stage.rounds(run)
    closed = stage.summary(run, rounds[-1])
    other = [*_changed(stage, run, loaded, sealed=sealed), *_asked(stage, run, rounds[0], wishes)]
    if other:
        raise InputError(
            f"run {run} is there already, and was submitted with something else: {'; '.join(other)}",
            "give another --run-id to what you ask for now; run "
            f"{run} {'has ended: sharder status' if closed else 'goes on with: sharder resume'} {run}",
        )
    if closed:
        return f"run {run} has ended before; nothing is run again, and this is its summary"
    return f"run {run} is there already, and goes on"


def _changed(stage: Stage, run: str, loaded: LoadedSpec, *, sealed: bool) -> Iterator[str]:
    """Documents that are not what is on the stage, whatever the clock says by now."""
    now = replace(loaded, documents=tuple(timeless(d) for d in loaded.documents))
    for n, (document, text) in enumerate(
        zip(now.documents, check.texts(now, sealed=sealed), strict=True)
    ):
        if not _same(stage, layout.spec(run, n), text):
            yield f"{_name(document)} changed"
    prefix = f"{layout.run_prefix(run)}spec/"
    stored = sum(1 for _ in stage.store.list(prefix))
    if stored > len(now.documents):
        yield "it had more documents"


def _asked(stage: Stage, run: str, round_: int, wishes: Wishes) -> Iterator[str]:
    """Flags that are not those of the first time; plans of older releases do not know theirs."""
    then, now = stage.plan(run, round_).asked, wishes.asked()
    if then is None:
        return
    for flag in sorted({*then, *now}):
        if then.get(flag) != now.get(flag):
            yield f"then {_written(flag, then)}, now {_written(flag, now)}"


def _written(flag: str, flags: Mapping[str, tuple[str, ...]]) -> str:
    if flag not in flags:
        return f"no {flag}"
    return " ".join(f"{flag} {value}".rstrip() for value in flags[flag])


def _same(stage: Stage, key: str, text: str) -> bool:
    try:
        stored = stage.store.get(key).decode()
    except NotFound:
        return False
    pattern = "[^\\n]*".join(map(re.escape, text.split(A_TIME)))
    return re.fullmatch(pattern, stored) is not None


def _name(document: SpecDocument) -> str:
    return document.what if document.kind != "fleet" else "the fleet document"
