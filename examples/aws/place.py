"""One account in one region of the estate, and the names and tags that its things get.

Every number and name follows from the account's weight and the seed alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TEAMS = ("checkout", "search", "payments", "platform", "growth", "identity")
SERVICES = ("api", "web", "worker", "cron", "cache", "reports", "events", "batch")


@dataclass(frozen=True)
class Place:
    """One account in one region; `weight` says how much lives there, `client` speaks to its API."""

    account: str
    name: str
    region: str
    home: bool
    weight: float
    rng: random.Random
    client: Callable[[str], Any]

    def several(self, usual: int) -> range:
        """0 … n for a kind of thing of which a middling account has `usual` per region."""
        return range(max(1, round(usual * self.weight)))

    def tags(self, name: str) -> dict[str, str]:
        return {
            "Name": name,
            "env": self.name,
            "team": self.rng.choice(TEAMS),
            "cost-center": f"cc-{self.rng.randrange(100, 130)}",
        }

    def named(self, i: int) -> str:
        return f"{self.name}-{SERVICES[i % len(SERVICES)]}-{i:03d}"


def pairs(tags: dict[str, str], key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
    """Tags in the list form of most services."""
    return [{key: k, value: v} for k, v in tags.items()]


def tagged(kind: str, tags: dict[str, str]) -> list[dict[str, Any]]:
    """Tags in EC2's form, given along with the creation."""
    return [{"ResourceType": kind, "Tags": pairs(tags)}]
