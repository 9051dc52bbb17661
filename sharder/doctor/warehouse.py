"""A destination's engine, as its loader found it: the version, and how its clock goes.

The loader asks, since only the loader has the warehouse's credentials.
"""

from __future__ import annotations

from collections.abc import Iterator

from sharder.doctor.finding import Finding, ok, warning
from sharder.doctor.here import fits
from sharder.doctor.stage import skew
from sharder.tested import Seen

SLACK_S = 1.0  # for writing the answer down after the clock was asked


def warehouse(name: str, seen: Seen) -> Iterator[Finding]:
    server = seen.server
    says = f"{server.name} {server.version}"
    if server.oldest and not fits(server.version, f">={server.oldest}"):
        mend = f"upgrade it to {server.name} {server.oldest} or newer"
        yield warning(f"version of {name}", f"{says} is older than what is tested", mend)
    else:
        yield ok(f"version of {name}", says)
    yield skew(f"clock of {name}", server.now_s, seen.before_s - SLACK_S, seen.after_s)
