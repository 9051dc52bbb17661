"""Running `sharder` inside of the test's process: exit code, stdout, stderr."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sharder.cli import main

Run = Callable[..., tuple[int, str, str]]

ROOT = Path(__file__).parents[2]
VARIABLES = ("SHARDER_STAGE", "SHARDER_BROKER", "SHARDER_WORKERS", "_SHARDER_COMPLETE")


def running(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    """What runs a command in a directory, with no setting of the machine's own."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def command(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(words)
        out, err = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return command
