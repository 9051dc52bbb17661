"""Keeps secrets out of texts: values that documents of this process took from variables and files.

Errors leave a document without its secrets. A log of libraries, or the trace of a bug of ours, does not
ask: it quotes what somebody said. So whoever logs puts `veil` before it.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import TracebackType
from typing import Any
from urllib.parse import quote, quote_plus, unquote

MOST = 4096  # values that are remembered; a loader lives for months, and files with secrets are renewed
SHORT = 3  # so short a value is no secret, and occurs anywhere

_PASSWORD = re.compile(
    r"://[^:/?#@]*:(.+)@"
    r"|(?i:password|passwd|pwd|secret|token)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|([^\s&;]+))"
)
_BREAK = re.compile(r"\n|\\n")  # also of several lines that were pasted as one


def masked(text: str, secrets: Mapping[str, str]) -> str:
    """The text with every value (→ its variable) replaced by `${VARIABLE}`, and what is left of one by `***`."""
    for value, name in sorted(secrets.items(), key=lambda item: -len(item[0])):
        text = text.replace(value, f"${{{name}}}")
    for piece in sorted({p for v in secrets for p in _pieces(v)}, key=len, reverse=True):
        text = text.replace(piece, "***")
    return text


@lru_cache(maxsize=MOST)
def _pieces(value: str) -> frozenset[str]:
    """What may be told of a value in its place: a part of it, or another spelling.

    Drivers take a part of a password with unescaped separators for the host, or unescape it; a trace
    quotes one line of several; a log escapes quotes.
    """
    found = {value}
    if _BREAK.search(value):
        found.update(line.strip() for line in _BREAK.split(value))
    passwords = [next(filter(None, m.groups()), "") for m in _PASSWORD.finditer(value)]
    if "://" not in value and "@" in value:
        passwords.append(value)
    for password in passwords:
        found |= {password, *re.split(r"[@/:?#]", password)}
    found |= {unquote(piece) for piece in found}
    found |= {
        spell(piece) for piece in found for spell in (quote, _quote, quote_plus, _json, _repr)
    }
    found |= {coded for piece in found for coded in _base64(piece)}
    return frozenset(piece for piece in found if len(piece) > SHORT) - {value}


def _quote(text: str) -> str:
    return quote(text, safe="")


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _repr(text: str) -> str:
    return repr(text)[1:-1]


def _base64(text: str) -> Iterator[str]:
    """As headers carry it, whatever stands before it; without the end, which depends on what follows."""
    data = text.encode("utf-8", "surrogatepass")
    for before, mixed in enumerate((0, 2, 3)):
        whole = base64.b64encode(bytes(before) + data).decode()
        if len(data) > 8:
            yield whole[mixed : (len(data) + before) // 3 * 4]


class Veil(logging.Filter):
    """Masks what `remember` was told, in log records and traces."""

    def __init__(self) -> None:
        super().__init__()
        self._secrets: dict[str, str] = {}

    def remember(self, secrets: Mapping[str, str]) -> None:
        """The newest `MOST` of them."""
        for value, name in secrets.items():
            self._secrets.pop(value, None)
            self._secrets[value] = name
        for value in list(self._secrets)[: max(len(self._secrets) - MOST, 0)]:
            del self._secrets[value]

    def __call__(self, text: str) -> str:
        return masked(text, dict(self._secrets)) if self._secrets else text

    def trace(self, error: BaseException) -> str:
        return self("".join(traceback.format_exception(error)).rstrip())

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true: the record stays, and what it says is masked before anybody formats it."""
        if self._secrets:
            record.msg, record.args = self(record.getMessage()), None
            if record.exc_info and record.exc_info[1]:
                record.exc_text = self.trace(record.exc_info[1])
            for name, value in list(vars(record).items()):
                if isinstance(value, dict):
                    setattr(record, name, self._masked(value))
        return True

    def _masked(self, value: Any) -> Any:
        match value:
            case str():
                return self(value)
            case dict():
                return {k: self._masked(v) for k, v in value.items()}
            case _:
                return value

    def hook(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        """For `sys.excepthook`: the trace of a bug that ends the program."""
        del kind, trace
        sys.stderr.write(self.trace(error) + "\n")


VEIL = Veil()


def veil() -> None:
    """Put it before every handler of the root logger, and before the trace that ends this process."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(VEIL)
    sys.excepthook = VEIL.hook
