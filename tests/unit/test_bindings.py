"""Every implementation of a protocol is held by the contract suite of that protocol."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from loader.warehouses import registry as warehouses
from worker.sources import registry as sources

ROOT = Path(__file__).parents[2]
PACKAGES = ("contracts", "worker", "loader", "sharder")

# Implementation → why no suite is bound to it. May only shrink.
WAIVERS: dict[str, str] = {}


def implementations() -> Iterator[tuple[str, str, str]]:
    """(suite, implementation, what a test module that binds it mentions)."""
    for name, entry in sources.ENTRIES.items():
        yield "SourceSuite", f"source {name}", entry.module
    for name in warehouses.names():
        suite = "WarehouseSuite" if warehouses.traits(name).lands else "FilesSuite"
        yield suite, f"warehouse {name}", name
    yield "LoadsSuite", "warehouse plugin", "tests.fakes.sqlite_plugin"
    for suite, file, protocol in (
        ("StoreSuite", "contracts/store/base.py", "Store"),
        ("QueueSuite", "contracts/queue.py", "Queue"),
        ("PermitsSuite", "worker/limits/pace.py", "Permits"),
        ("PlacesSuite", "worker/limits/flight.py", "Places"),
    ):
        for name in classes_like(methods_of(ROOT / file, protocol)):
            yield suite, f"{protocol.lower()} {name}", name


def methods_of(path: Path, name: str) -> set[str]:
    (found,) = (c for c in classes(path) if c.name == name)
    return methods(found)


def methods(of: ast.ClassDef) -> set[str]:
    return {f.name for f in of.body if isinstance(f, ast.FunctionDef)}


def classes(path: Path) -> list[ast.ClassDef]:
    return [node for node in ast.walk(parsed(path)) if isinstance(node, ast.ClassDef)]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def bases(of: ast.ClassDef) -> set[str]:
    return {ast.unparse(base).split("[")[0] for base in of.bases}


def classes_like(wanted: set[str]) -> Iterator[str]:
    """Names of our classes that have all these methods and are no protocols."""
    for path in (p for package in PACKAGES for p in sorted((ROOT / package).rglob("*.py"))):
        for found in classes(path):
            if wanted <= methods(found) and "Protocol" not in bases(found):
                yield found.name


def bindings(suite: str) -> Iterator[set[str]]:
    """What each module of tests/contract that binds the suite mentions: imports and texts."""
    for path in sorted((ROOT / "tests" / "contract").glob("test_*.py")):
        if any(suite in bases(c) for c in classes(path)):
            yield set(mentions(parsed(path)))


def mentions(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(module=str(place)):
                yield place
                yield place.rpartition(".")[2]
                for alias in node.names:
                    yield alias.name
                    yield f"{place}.{alias.name}"
            case ast.Constant(value=str(text)):
                yield text


ALL = list(implementations())


@pytest.mark.parametrize(("suite", "name", "mentioned"), ALL, ids=[name for _, name, _ in ALL])
def test_an_implementation_is_bound_to_its_suite(suite: str, name: str, mentioned: str) -> None:
    bound = any(mentioned in found for found in bindings(suite))
    if name in WAIVERS:
        assert not bound, f"{name} is bound by now: take its waiver away"
        return
    assert bound, f"no module of tests/contract binds {suite} to {name}"


def test_the_search_finds_what_there_is() -> None:
    names = {name for _, name, _ in ALL}
    assert {"store LocalStore", "store ObjectStore", "queue Pool", "queue CeleryQueue"} <= names
    assert {"permits LocalPermits", "permits FleetPermits", "places FleetPlaces"} <= names
    assert {"source aws", "source hackernews", "warehouse duckdb"} <= names


def test_a_waiver_is_for_something_that_exists_and_has_a_reason() -> None:
    assert WAIVERS.keys() <= {name for _, name, _ in ALL}
    assert all(WAIVERS.values())
