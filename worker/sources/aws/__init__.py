"""AWS: accounts, regions and 46 tables, all of them data (`tables/*.yaml`, compiled into `lock/`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worker.sources.aws.options import Options
from worker.sources.aws.source import AwsSource
from worker.sources.base import Context

__all__ = ["AwsSource", "Options", "open"]


def open(spec: Mapping[str, Any], context: Context) -> AwsSource:  # noqa: A001 the factory's name
    """The source of a spec. Raises pydantic's ValidationError, InputError for unknown regions."""
    return AwsSource(Options.model_validate(dict(spec)), context)
