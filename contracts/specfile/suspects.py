"""Which options of a plugin that nobody here knows look as if they held a secret: by their names, and by their values.

A built-in plugin says which of its fields are secret. Of another one only names can be read, so that a name
which may mean a secret counts as one: what is lost is a line that has to be written as a variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

# Words of a key, apart from each other: `db_password`, `apiKey`, `CONNECTION-STRING`.
_WORDS = frozenset({
    "password", "passwd", "pwd", "passphrase", "passcode", "pass", "secret", "secrets", "token", "tokens",
    "credential", "credentials", "creds", "dsn", "apikey", "accesskey", "privatekey", "authorization",
    "connectionstring", "connstring", "jwt", "bearer", "pat", "cert", "pem",
})  # fmt: skip
_PAIRS = frozenset({
    "api key", "access key", "private key", "secret key", "account key", "signing key", "encryption key", "auth key",
    "service account", "shared key", "sas key", "ssh key", "key json", "license key", "master key",
    "connection string", "conn string", "connection uri", "connection url", "database url", "database uri",
    "webhook url",
})  # fmt: skip
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LOGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/@:]*:[^\s/@]+@", re.IGNORECASE)


def suspects(options: Any) -> list[str]:
    """Dotted paths of what may be a secret, `*` for a key with a dot in it. Values below such a key go with it."""
    return list(dict.fromkeys(_below(options, ())))


def is_suspect(key: str) -> bool:
    words = [word.lower() for word in _WORD.findall(key)]
    return bool(_WORDS & {*words, "".join(words)}) or any(
        f"{one} {other}" in _PAIRS for one, other in pairwise(words)
    )


def _below(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            steps = (*path, "*" if "." in key else key.lower())
            if is_suspect(key):
                yield from _leaves(inner, steps)
            else:
                yield from _below(inner, steps)
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield from _below(inner, (*path, str(n)))
    elif isinstance(value, str) and _LOGIN.search(value):
        yield ".".join(path)


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    """Each scalar by itself: a variable among them is no literal, and one that is written out is found."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, "*" if "." in key else key.lower()))
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield from _leaves(inner, (*path, str(n)))
    elif value is not None and not isinstance(value, bool):
        yield ".".join(path)
