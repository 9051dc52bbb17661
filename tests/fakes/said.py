"""A report that keeps what it was told."""

from __future__ import annotations

from contracts.plan import Plan
from contracts.summary import Summary
from sharder.summary import Tally


class Said:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.summaries: list[Summary] = []
        self.progressed = 0

    def say(self, text: str) -> None:
        self.said.append(text)

    def progress(self, plan: Plan, tally: Tally) -> None:
        self.progressed += 1

    def summary(self, summary: Summary) -> None:
        self.summaries.append(summary)

    def close(self) -> None: ...
