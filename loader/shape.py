"""A table as a warehouse has it: engine type names as text, keys as column names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PhysicalColumn:
    """`type` is the text with which the engine itself describes the type, so that shapes compare."""

    name: str
    type: str
    nullable: bool = True


@dataclass(frozen=True)
class PhysicalTable:
    """`schema` is empty for the connection's own; `key` is empty for a table that is appended to."""

    name: str
    columns: tuple[PhysicalColumn, ...]
    key: tuple[str, ...] = ()
    schema: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    def __contains__(self, column: str) -> bool:
        return any(c.name == column for c in self.columns)

    def column(self, name: str) -> PhysicalColumn:
        """Raises KeyError if there is no such column."""
        for c in self.columns:
            if c.name == name:
                return c
        raise KeyError(name)
