"""A run whose plan is written by hand, whose shards a real worker reads and whose rows a real loader loads."""

from __future__ import annotations

from collections.abc import Sequence

from contracts import layout
from contracts.commit import Commit
from contracts.queue import Message
from tests.fakes.scripted import Handing, Script, Scripted
from tests.fakes.stage import StageRun, shard
from worker.extract import extract


def read(
    run: StageRun,
    *scripts: Script,
    clients: Sequence[Sequence[str]] = (("a",),),
    number: int = 1,
    authoritative: bool = True,
) -> list[Commit]:
    """A round with one shard per script; `clients` of each, in order."""
    shards = [shard(dict.fromkeys(of, ()), missing=True) for of in clients]
    run.round(shards, number=number, authoritative=authoritative)
    commits = []
    for n, script in enumerate(scripts):
        message = Message("shard", run.run, shard=layout.shard_id(number, n))
        commit = extract(
            message,
            stage=run.stage,
            heart=run.heart,
            environment={},
            now=lambda: run.sync_time,
            sleep=lambda _s: None,
            opened=Handing(Scripted(script)),
        )
        assert commit is not None
        commits.append(commit)
    return commits
