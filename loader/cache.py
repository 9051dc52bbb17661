"""Open warehouses of this process: one per (run, destination), so that a load does not pay for a connection.

A warehouse that met an error is closed and opened anew: nobody knows in which state it is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from contracts.errors import SharderError
from loader.documents import OpenDestination
from loader.warehouses import registry
from loader.warehouses.base import Warehouse

Open = Callable[[OpenDestination], Warehouse]

SIZE = 4


def open_destination(found: OpenDestination) -> Warehouse:
    return registry.open_warehouse(found.destination, found.options, found.program)


class Warehouses:
    """The least recently used one is closed when there are more than `size`."""

    def __init__(self, open_: Open = open_destination, size: int = SIZE) -> None:
        self._open = open_
        self._size = size
        self._opened: OrderedDict[tuple[str, str], Warehouse] = OrderedDict()

    @contextmanager
    def use(self, run: str, found: OpenDestination) -> Iterator[Warehouse]:
        """The warehouse, with our schema and tables in it. Raises what opening it raises.

        Drivers may quote what they were given: no error leaves here with a secret of the document.
        """
        try:
            yield from self._use(run, found)
        except SharderError as error:
            error.mask(found.masked)
            raise

    def _use(self, run: str, found: OpenDestination) -> Iterator[Warehouse]:
        key = (run, found.destination.name)
        if key not in self._opened:
            warehouse = self._open(found)
            try:
                warehouse.prepare()
            except BaseException:
                warehouse.close()
                raise
            self._opened[key] = warehouse
        self._opened.move_to_end(key)
        while len(self._opened) > self._size:
            self._opened.popitem(last=False)[1].close()
        try:
            yield self._opened[key]
        except BaseException:
            self._opened.pop(key).close()
            raise

    def release(self) -> None:
        """Close what nobody else can open meanwhile: a loader that waits for work must not hold a file."""
        for key in [k for k, w in self._opened.items() if not w.traits.shared]:
            self._opened.pop(key).close()

    def close(self) -> None:
        while self._opened:
            self._opened.popitem()[1].close()


@contextmanager
def borrowed(warehouses: Warehouses | None) -> Iterator[Warehouses]:
    """The caller's, which stay open, or some that are closed when the job ends."""
    own = warehouses or Warehouses()
    try:
        yield own
    finally:
        if warehouses is None:
            own.close()
