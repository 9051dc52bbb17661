"""Client ids without a client: `ACCOUNT:REGION`, region by region, so that a table that is not in
every region is a few ranges of one list, however many accounts there are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import overload

Range = tuple[int, int]


class RegionMajor(Sequence[str]):
    """All accounts of the first region, then all of the second, …; ids are made when they are asked for.

    `groups`: account numbers that are read in the same regions → those regions.
    """

    def __init__(self, groups: Mapping[tuple[str, ...], tuple[str, ...]]) -> None:
        self.regions = tuple(dict.fromkeys(r for regions in groups.values() for r in regions))
        blocks = [
            (region, accounts)
            for region in self.regions
            for accounts, regions in groups.items()
            if region in regions and accounts
        ]
        self._blocks = blocks
        self._starts: list[int] = []
        total = 0
        for _, accounts in blocks:
            self._starts.append(total)
            total += len(accounts)
        self._total = total

    def __len__(self) -> int:
        return self._total

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(self._total))]
        if index < 0:
            index += self._total
        if not 0 <= index < self._total:
            raise IndexError(index)
        block = bisect_right(self._starts, index) - 1
        region, accounts = self._blocks[block]
        return f"{accounts[index - self._starts[block]]}:{region}"

    def ranges(self, without: frozenset[str]) -> tuple[Range, ...] | None:
        """The ranges of all regions but some; None if that is the whole list."""
        if not self._blocks:
            return None
        found: list[Range] = []
        ends = [*self._starts[1:], self._total]
        for (region, _), start, end in zip(self._blocks, self._starts, ends, strict=True):
            if region in without:
                continue
            if found and found[-1][1] == start:
                found[-1] = (found[-1][0], end)
            else:
                found.append((start, end))
        return None if found == [(0, self._total)] else tuple(found)


def parse(client: str) -> tuple[str, str]:
    """(account number, region); the region is empty for a client of a whole account."""
    account, _, region = client.partition(":")
    return account, region
