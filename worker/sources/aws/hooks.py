"""Tables that no declaration can express: Python that yields their rows, a page at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from contracts.errors import Transient
from worker.sources.aws.calls import Caller, Place
from worker.sources.aws.values import NOTHING

Hook = Callable[[Caller, Place], Iterator[list[dict[str, Any]]]]

_POLL_S = 2.0
_POLLS = 60  # IAM builds a report in seconds; one is rebuilt after four hours
_PAGE = 1000


def credential_report(caller: Caller, place: Place) -> Iterator[list[dict[str, Any]]]:
    """IAM's credential report: ask for it until it is complete, then read its CSV."""
    for _ in range(_POLLS):
        if caller.call(place, "iam", "GenerateCredentialReport", {}).get("State") == "COMPLETE":
            break
        caller.sleep(_POLL_S)
    else:
        raise Transient(f"IAM did not finish the credential report within {_POLLS * _POLL_S:.0f} s")
    content = caller.call(place, "iam", "GetCredentialReport", {})["Content"]
    lines = csv.DictReader(io.StringIO(content.decode("utf-8")))
    page: list[dict[str, Any]] = []
    for line in lines:
        page.append({k: v for k, v in line.items() if v not in NOTHING})
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page


HOOKS: Mapping[str, Hook] = {"credential_report": credential_report}
