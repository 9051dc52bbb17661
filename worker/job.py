"""What the documents of a run say about one shard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from contracts import layout
from contracts.plan import Plan, PlannedSource, PlannedTable, Shard
from contracts.stage import Stage
from worker.sources.base import Work


@dataclass(frozen=True)
class Job:
    """One shard with everything that the plan says about it."""

    plan: Plan
    shard: Shard
    source: PlannedSource
    tables: tuple[PlannedTable, ...]  # one, or those of a group
    clients: tuple[str, ...]

    @classmethod
    def read(cls, stage: Stage, run: str, shard_id: str) -> Job:
        """Raises NotFound, VersionUnknown, and Permanent if the plan has no such shard."""
        round_, _ = layout.parse_shard_id(shard_id)
        plan = stage.plan(run, round_)
        shard = stage.shard(run, shard_id)
        return cls(
            plan,
            shard,
            plan.source(shard.source),
            plan.tables_of(shard),
            tuple(stage.clients(run, shard.source, shard.clients)),
        )

    @property
    def names(self) -> Mapping[str, str]:
        """Fields of every log line about this shard."""
        shard = self.shard
        more = {"tables": str(shard.tables)} if shard.tables > 1 else {}
        return {
            "run": self.plan.run,
            "shard": shard.id,
            "source": shard.source,
            "table": shard.table,
            **more,
        }

    @property
    def timeout_s(self) -> float:
        """The longest time that one attempt may read; 0: no limit."""
        return self.plan.timeout_s(self.source.name)

    @property
    def spec_key(self) -> str:
        """Where the source's document is."""
        return layout.spec(self.plan.run, self.source.spec)

    def part_key(self, attempt: str, table: str, n: int) -> str:
        plan = self.plan
        return layout.part(
            plan.run, self.source.name, table, self.shard.id, attempt, n, plan.format
        )

    @property
    def work(self) -> Work:
        slice_ = self.shard.slice
        return Work(
            tree=tuple(t for table in self.tables for t in table.tree),
            selected=frozenset(name for table in self.tables for name in table.selected),
            clients=self.clients,
            slice=slice_.bounds if slice_ else None,
        )

    def cursors(self, stage: Stage) -> Mapping[str, str]:
        """The state of the source, from the destination that holds it.

        For a full refresh only what earlier rounds of it have read: rows that they loaded do not come again.
        Tables of a group are refreshed together or not at all.
        """
        for destination in self.plan.destinations:
            if self.source.name in destination.holds_state_of:
                if self.plan.refreshes(self.tables[0]):
                    return self._refreshed(stage, destination.name)
                found = stage.cursors(self.plan.run, destination.name)
                return found.cursors.get(self.source.name, {}) if found else {}
        return {}

    def _refreshed(self, stage: Stage, destination: str) -> Mapping[str, str]:
        cursors: dict[str, str] = {}
        for round_ in range(1, self.plan.round):
            for table in self.tables:
                names = (self.plan.run, destination, self.source.name, table.name, round_)
                receipt = stage.receipt(*names)
                cursors |= receipt.cursors if receipt and receipt.outcome == "ok" else {}
        return cursors
