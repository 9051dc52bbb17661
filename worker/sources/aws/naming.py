"""How a member of an AWS shape is called: as a column (snake case) and inside JSON (Go field name).

The column rule is CloudQuery's caser, so that queries written for its tables keep working: known
initialisms are words of their own, any other run of capitals is one word and leaves its last
capital to the next word (`DBInstanceArn` → `db_instance_arn`).
"""

from __future__ import annotations

import re
from functools import cache

# The caser's initialisms. KMS, ARN and IAM are not among them: they are split as plain runs.
_INITIALISMS = frozenset(
    [
        "ACL",
        "API",
        "ASCII",
        "CIDR",
        "CPU",
        "CSS",
        "DNS",
        "EOF",
        "ETA",
        "GPU",
        "GUID",
        "HTML",
        "HTTP",
        "HTTPS",
        "ID",
        "IP",
        "JSON",
        "LHS",
        "OS",
        "QPS",
        "RAM",
        "RHS",
        "RPC",
        "SLA",
        "SMTP",
        "SQL",
        "SSH",
        "TCP",
        "TLS",
        "TTL",
        "UDP",
        "UI",
        "UID",
        "URI",
        "URL",
        "UTC",
        "UTF8",
        "UUID",
        "VM",
        "XML",
        "XMPP",
        "XSRF",
        "XSS",
    ]
)
# Words that the bare rule would tear apart; CloudQuery renames the columns that hold them by hand.
_WORDS = ("IPv4", "IPv6", "ARNs", "EC2", "VPCs")
_LONGEST = 5
_RUN = re.compile(r"[A-Z]+")
_LOWER = re.compile(r"[^A-Z]*")


@cache
def column_name(member: str) -> str:
    """The column of a member: `clusterArn` → `cluster_arn`, `Ipv6CidrBlock` → `ipv6_cidr_block`."""
    text = field_name(member)
    words: list[str] = []
    at = 0
    while at < len(text):
        word = _word(text, at)
        words.append(word)
        at += len(word)
    return "_".join(words).lower()


def field_name(member: str) -> str:
    """The key of a member inside a JSON column: its name with a capital first letter."""
    return member[:1].upper() + member[1:]


def _word(text: str, at: int) -> str:
    for word in _WORDS:
        if text.startswith(word, at):
            return word
    for size in range(_LONGEST, 1, -1):
        if text[at : at + size] in _INITIALISMS and len(text) >= at + size:
            return text[at : at + size] + _plural(text, at + size)
    run = _RUN.match(text, at)
    if run is None:  # a digit or underscore where a word begins
        return _LOWER.match(text, at).group() or text[at]  # type: ignore[union-attr]
    if len(run.group()) == 1:
        return run.group() + _LOWER.match(text, run.end()).group()  # type: ignore[union-attr]
    if run.end() < len(text) and text[run.end()].islower():
        return run.group()[:-1]
    return run.group() + _LOWER.match(text, run.end()).group()  # type: ignore[union-attr]


def _plural(text: str, at: int) -> str:
    """A lone `s` belongs to the initialism before it: `IDs` → `ids`."""
    alone = text[at : at + 1] == "s" and (at + 1 == len(text) or text[at + 1].isupper())
    return "s" if alone else ""
