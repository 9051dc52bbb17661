"""Names of sources, what is near them, and what they need."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import BaseModel

from contracts.errors import InputError, MissingExtra
from tests.suites.source import context
from worker.sources import registry


@pytest.mark.parametrize("name", registry.names())
def test_every_source_has_a_model_of_its_options_that_forbids_unknown_keys(name):
    model = registry.options(name)
    assert issubclass(model, BaseModel)
    assert model.model_config["extra"] == "forbid"
    assert all(field.description for field in model.model_fields.values())


def test_options_are_read_without_heavy_libraries():
    program = (
        "import sys\nfrom worker.sources import registry\n"
        "for name in registry.names(): registry.options(name)\n"
        "print([m for m in ('boto3', 'botocore', 'adbc_driver_manager', 'duckdb', 'obstore') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_an_unknown_source_names_the_nearest_one():
    with pytest.raises(InputError, match="no source plugin 'hackernew'") as caught:
        registry.options("hackernew")
    assert "did you mean 'hackernews'?" in caught.value.hint
    assert "aws" in caught.value.hint


def test_a_missing_library_is_one_sentence_with_the_install_line(monkeypatch):
    entry = registry.Entry("tests.fakes.needs_nothing_here", "", {"tests": "aws"})
    monkeypatch.setattr(registry, "ENTRIES", {"x": entry})
    with pytest.raises(MissingExtra, match=r"pip install 'sharder\[aws\]'"):
        registry.open_source("x", {}, context())


def test_a_module_of_our_own_that_is_missing_is_no_missing_extra(monkeypatch):
    monkeypatch.setattr(
        registry, "ENTRIES", {"x": registry.Entry("worker.sources.absent", "", {"boto3": "aws"})}
    )
    with pytest.raises(ModuleNotFoundError):
        registry.open_source("x", {}, context())
