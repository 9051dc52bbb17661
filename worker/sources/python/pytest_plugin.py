"""`pytest --sharder-source module:factory`: the Source suite on a source of one's own, beside its own tests.

Without that option nothing happens, and nothing but this module is imported: it is loaded by every pytest
that runs where Sharder is installed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from worker.sources.base import Source

_SUITE = Path(__file__).with_name("contract_tests.py")
_BARE = frozenset({"-h", "--help", "--fixtures", "--markers"})


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sharder", "Sharder's contract of a source")
    group.addoption(
        "--sharder-source",
        default="",
        metavar="MODULE:FACTORY",
        help="Run the contract suite on this source, as a spec names it in `path`.",
    )
    group.addoption(
        "--sharder-spec",
        default="",
        metavar="FILE",
        help="Its options: a JSON file, or JSON itself.  [default: {}]",
    )
    group.addoption(
        "--sharder-table",
        action="append",
        default=[],
        metavar="NAME",
        help="Read only this top-level table and what is below it; may be repeated.  [default: all]",
    )
    group.addoption(
        "--sharder-empty",
        action="append",
        default=[],
        metavar="NAME",
        help="A table that has no rows there; may be repeated.",
    )


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--sharder-source")
    if not path or _BARE & set(config.invocation_params.args):
        return
    from contracts.errors import SharderError
    from worker.sources import python

    # At the end, so that nothing that is installed is hidden by a file of that name.
    sys.path.append(str(config.invocation_params.dir))
    try:
        python.options(path)
    except SharderError as error:
        raise pytest.UsageError(f"--sharder-source: {error}") from error
    spec_of(config)
    pytest.register_assert_rewrite("worker.sources.suite")
    config.args.append(str(_SUITE))


def spec_of(config: pytest.Config) -> dict[str, Any]:
    """Raises UsageError for what is no JSON object."""
    given = config.getoption("--sharder-spec") or "{}"
    try:
        text = given if given.lstrip().startswith("{") else Path(given).read_text(encoding="utf-8")
        spec = json.loads(text)
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"--sharder-spec {given}: {error}") from error
    if not isinstance(spec, dict):
        raise pytest.UsageError(f"--sharder-spec {given}: not a JSON object")
    return spec


@pytest.fixture
def sharder_source(request: pytest.FixtureRequest) -> Iterator[Source]:
    """The source of `--sharder-source`, opened with the options of `--sharder-spec`."""
    from worker.sources import python
    from worker.sources.suite import context

    path = request.config.getoption("--sharder-source")
    if not path:
        pytest.skip("no --sharder-source was given")
    source = python.open(path, spec_of(request.config), context())
    yield source
    source.close()
