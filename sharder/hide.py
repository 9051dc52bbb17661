"""Keeps the secrets of a run's documents out of what its child processes write.

Their errors leave them without secrets. Traces and lines of libraries need not, so whatever is shown or
logged of a child passes through here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from contracts.errors import SharderError
from contracts.specfile import expand_document


class Hider:
    """Hands lines on without secrets; the documents are only read when there is a line."""

    def __init__(
        self,
        to: Callable[[str], None],
        texts: Callable[[], Iterable[str]],
        environment: Mapping[str, str],
    ) -> None:
        """`texts`: the documents as they are on the stage."""
        self._to, self._texts, self._environment = to, texts, environment

    def __call__(self, line: str) -> None:
        for mask in self._masks:
            line = mask(line)
        self._to(line)

    @cached_property
    def _masks(self) -> list[Callable[[str], str]]:
        found: list[Callable[[str], str]] = []
        for text in self._texts():
            try:
                expanded = expand_document(text, self._environment, "the spec").expanded
            except SharderError:
                continue  # nobody here knows its secrets, so nobody here can tell them
            if expanded.pasted:
                found.append(expanded.masked)
        return found
