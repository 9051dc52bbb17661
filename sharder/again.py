"""What `submit --run-id` says of a run that is there already: it goes on as it was submitted.

Who repeats a command means the same run; who has changed the spec in between must hear that it is not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from contracts import layout
from contracts.errors import NotFound
from contracts.specfile import LoadedSpec
from contracts.specfile.document import A_TIME, SpecDocument, timeless
from contracts.stage import Stage
from sharder import check


def told(stage: Stage, run: str, loaded: LoadedSpec, *, sealed: bool) -> Iterator[str]:
    """Sentences: what becomes of the run, and a warning if it has another spec. `sealed`: as it was stored."""
    closed = stage.summary(run, stage.rounds(run)[-1])
    yield (
        f"run {run} has ended before; nothing is run again, and this is its summary"
        if closed
        else f"run {run} is there already, and goes on"
    )
    if changed := list(_changed(stage, run, loaded, sealed=sealed)):
        yield (
            f"warning: run {run} has the spec with which it was submitted first. Since then "
            f"{', '.join(changed)} changed, which means nothing to it; to run the spec as it is now, give "
            "another --run-id"
        )


def _changed(stage: Stage, run: str, loaded: LoadedSpec, *, sealed: bool) -> Iterator[str]:
    """Documents that are not what is on the stage, whatever the clock says by now."""
    now = replace(loaded, documents=tuple(timeless(d) for d in loaded.documents))
    for n, (document, text) in enumerate(
        zip(now.documents, check.texts(now, sealed=sealed), strict=True)
    ):
        if not _same(stage, layout.spec(run, n), text):
            yield _name(document)
    prefix = f"{layout.run_prefix(run)}spec/"
    stored = sum(1 for _ in stage.store.list(prefix))
    if stored > len(now.documents):
        yield "the number of documents"


def _same(stage: Stage, key: str, text: str) -> bool:
    try:
        stored = stage.store.get(key).decode()
    except NotFound:
        return False
    pattern = "[^\\n]*".join(map(re.escape, text.split(A_TIME)))
    return re.fullmatch(pattern, stored) is not None


def _name(document: SpecDocument) -> str:
    return document.what if document.kind != "fleet" else "the fleet document"
