"""A class of CloudQuery's Python SDK, served without the traps of the SDK's own command.

Measured with 0.1.56: it takes a bare socket path for a host, ends with exit code 2 for the CLI's
`--otel-endpoint-insecure`, and its calls end as UNKNOWN, so that a wrong spec looks like a fault that may
pass. Here the arguments, the server and the errors are ours and the calls are the SDK's own. The SDK comes
from the user's environment: it is imported by their module, never by us first.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
from typing import Any

import grpc

from contracts.errors import InputError
from worker.sources.python import find


def plugin_class(name: str) -> type | None:
    """The class that `module:Class` names, if it is one of the SDK's plugins.

    Raises InputError if there is no such module or attribute.
    """
    found: Any = find.factory(name)
    sdk = sys.modules.get("cloudquery.sdk.plugin.plugin")
    base = getattr(sdk, "Plugin", None)
    return found if base and inspect.isclass(found) and issubclass(found, base) else None


def servicer(class_: type, *, log_level: str, log_format: str) -> Any:
    """The calls of the protocol, answered by an instance of the class. Raises InputError."""
    try:
        plugin = class_()
    except Exception as error:
        raise InputError(
            f"{class_.__module__}:{class_.__name__} cannot be made without arguments: "
            f"{type(error).__name__}: {error} ({find.place_of(error)})",
            "the class calls super().__init__(name, version) in an __init__ without arguments",
        ) from error
    logger = _logger(log_level, log_format)
    # Before the first call: the SDK's plugins log in `init` and fail without one.
    plugin.set_logger(logger)
    base: Any = importlib.import_module("cloudquery.sdk.internal.servers.plugin_v3").PluginServicer
    return _with_errors(base)(plugin, logger)


def _with_errors(base: Any) -> Any:
    """The SDK's servicer with errors as Go's have them."""

    class Served(base):
        def Init(self, request: Any, context: Any) -> Any:  # noqa: N802 — the protocol's names
            return _told(super().Init, request, context)

        def GetTables(self, request: Any, context: Any) -> Any:  # noqa: N802
            return _told(super().GetTables, request, context)

        def Close(self, request: Any, context: Any) -> Any:  # noqa: N802
            try:
                return super().Close(request, context)
            except NotImplementedError:  # the base class has it so, and most plugins leave it
                return importlib.import_module("cloudquery.plugin_v3.plugin_pb2").Close.Response()

    return Served


def _told(call: Any, request: Any, context: Any) -> Any:
    try:
        return call(request, context)
    except NotImplementedError as error:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, str(error) or "the plugin does not offer this")
    except Exception as error:  # noqa: BLE001 — a plugin may raise anything
        context.abort(grpc.StatusCode.INTERNAL, str(error) or type(error).__name__)


def _logger(level: str, form: str) -> Any:
    """structlog, which the SDK brings and its plugins expect, onto our handler's stream."""
    structlog: Any = importlib.import_module("structlog")
    known = {"trace": logging.DEBUG, "warn": logging.WARNING}
    least = known.get(level, getattr(logging, level.upper(), logging.INFO))
    last = (
        structlog.dev.ConsoleRenderer(colors=False)
        if form == "text"
        else structlog.processors.JSONRenderer()
    )
    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stdout),
        wrapper_class=structlog.make_filtering_bound_logger(least),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            last,
        ],
    )
