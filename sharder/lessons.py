"""History is written while a round goes on: a table's lesson ends with its last commit.

Shards are fed table by table, or group by group, so that few lessons are open at once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from contracts.apart import apart
from contracts.commit import Commit
from contracts.plan import Plan, Shard
from contracts.stage import Stage
from sharder.history import Lesson


class Lessons:
    """What the commits of one round teach, table by table."""

    def __init__(self, stage: Stage, plan: Plan, now: Callable[[], datetime]) -> None:
        self._stage, self._plan, self._now = stage, plan, now
        self._left = {(t.source, t.name): t.shards for t in plan.tables}
        self._open: dict[tuple[str, str], Lesson] = {}

    def add(self, shard: Shard, commit: Commit) -> None:
        """Take in a commit; with the last one of a table its history is written."""
        for own, part in apart(shard, commit, self._plan):
            self._add(own, part)

    def _add(self, shard: Shard, commit: Commit) -> None:
        key = (shard.source, shard.table)
        lesson = self._open.setdefault(key, Lesson(*key))
        lesson.add(commit)
        self._left[key] -= 1
        if not self._left[key]:
            del self._open[key]
            before = self._stage.history(*key)
            after = lesson.history(before, self._now())
            if after and after is not before:
                self._stage.write_history(after)
