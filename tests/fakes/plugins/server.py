"""A scripted plugin: a gRPC server of raw bytes that behaves like a plugin of CloudQuery's Go SDK.

In process:      `with serving(script) as target: Client(target)`
As a program:    `python -m tests.fakes.plugins.server SCRIPT.json serve --log-level info --log-format json
                 --network unix --address /dir/x.sock` (or `--network tcp --address 127.0.0.1:7777`)
As a file:       `program(directory, script)` writes an executable with the script in it, for `registry: local`.

The script is a JSON object; every member may be missing:

  name, version     answers of GetName ("scripted") and GetVersion ("v1.0.0")
  spec_schema       answer of GetSpecSchema (text; none if absent)
  versions          answer of Discovery.GetVersions ([0, 1, 2, 3]); null: UNIMPLEMENTED
  accounts          clients, if the spec names none (["a1"])
  rows              rows per table and account (10), if neither spec nor table say
  rows_per_message  50, as Go does
  tables            [{"name": "things", "rows": 120, "parent": null, "incremental": false, "title": "",
                    "description": "", "sensitive": null, "columns": [["id", "int64", "key"], …]}]
                    Columns as in `contents.COLUMNS`, which is the default; the default tables are
                    things and, below it, thing_parts.
  once              true: a second Sync is refused as "already in use", as Go does
  checkpoints       true: incremental tables send {"TABLE/ACCOUNT": next id} after their rows of each
                    account: as a checkpoint if the client takes them, else into the state backend; and
                    they begin where the state in the backend says
  test_connection   {"success": false, "code": "…", "words": "…"}; absent: UNIMPLEMENTED
  events            what happens besides, in order: [{"do": "kill", "account": "a2", "message": 3}, …]

The spec of Init: `accounts` (names, or objects with `id`) and `rows` (a number, or {account: number}).
Accounts are read one after the other; within one, table by table, parents first.

An event happens once, before insert number `message` (from 0) of its `account` (absent: of the whole
stream, counting all accounts), or `at`: "init", "tables", "start" (before the first migrate) or
"end" (after the last row). `do`:

  error {table, error}           an error message for a table; its remaining rows of the account are left out
  abort {code, words}            the call fails with that status (code "INTERNAL")
  kill | exit {code}             SIGKILL to itself | os._exit(137). Only as a program
  hang                           nothing more comes, nothing is logged; the call ends when the client cancels
  until {path}                   waits until a file exists (a gate for tests)
  log {lines, level, words, bytes, table}   so many lines; `bytes`: of each line's message
  schema_change                  tables have the column `added` from here on, without a new migrate_table
  migrate {table}                the table's migrate_table again (after a schema_change: the new one)
  checkpoint {state, version}    a checkpoint; `version` as Go has it (absent: no such column)
  delete_record {table, column, value, relations: [[child, parent]]}
  unknown                        a member of the oneof that nobody knows (number 15)
  big {bytes}                    a row of `things` whose name has so many bytes
  raw {hex}                      these very bytes as a message
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
from cloudquery.discovery_v1 import discovery_pb2
from cloudquery.plugin_v3 import plugin_pb2 as pb

from tests.fakes.plugins import contents, encode

TABLES = [{"name": "things"}, {"name": "thing_parts", "parent": "things"}]
ROOT = Path(__file__).parents[3]


@contextmanager
def serving(script: dict[str, Any], address: str = "127.0.0.1:0") -> Iterator[str]:
    """The plugin in this process; yields the target of a client."""
    plugin = Plugin(script, print_lines=False)
    server, target = start(plugin, address)
    try:
        yield target
    finally:
        plugin.over.set()
        server.stop(0).wait()


def program(directory: Path, script: dict[str, Any], name: str = "plugin") -> Path:
    """An executable that is this plugin: for `path:` of a spec. It stays the same process."""
    text = directory / f"{name}.json"
    text.write_text(json.dumps(script))
    path = directory / name
    path.write_text(
        f"#!/bin/sh\nexport PYTHONPATH={shlex.quote(str(ROOT))}\n"
        f"exec {shlex.quote(sys.executable)} -m tests.fakes.plugins.server"
        f' {shlex.quote(str(text))} "$@"\n'
    )
    path.chmod(0o755)
    return path


def start(plugin: Plugin, address: str) -> tuple[grpc.Server, str]:
    """Serve at "unix:///dir/x.sock", "/dir/x.sock" or "host:port" (port 0: any). Returns the client's target."""
    server = grpc.server(
        ThreadPoolExecutor(8),
        options=[
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.so_reuseport", 0),
        ],
    )
    plugin.register(server)
    address = f"unix://{address}" if address.startswith("/") else address
    port = server.add_insecure_port(address)
    server.start()
    return server, address if address.startswith("unix") else f"{address.rpartition(':')[0]}:{port}"


class Plugin:
    """The script, and what the plugin was told. `calls`: requests by name of the call, for tests."""

    def __init__(self, script: dict[str, Any], *, print_lines: bool = True) -> None:
        self.script = script
        self.tables = script.get("tables", TABLES)
        self.over = threading.Event()
        self.calls: list[tuple[str, Any]] = []
        self.spec: dict[str, Any] | None = None
        self._print = print_lines
        self._used = False

    def register(self, server: grpc.Server) -> None:
        def unary(call: Any) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(call)

        methods = {
            "GetName": unary(self.get_name),
            "GetVersion": unary(self.get_version),
            "GetSpecSchema": unary(self.get_spec_schema),
            "Init": unary(self.init),
            "GetTables": unary(self.get_tables),
            "Close": unary(self.finish),
        }
        if "test_connection" in self.script:
            methods["TestConnection"] = unary(self.connection_tested)
        methods["Sync"] = grpc.unary_stream_rpc_method_handler(self.sync)
        handlers = [grpc.method_handlers_generic_handler("cloudquery.plugin.v3.Plugin", methods)]
        if self.script.get("versions", [3]) is not None:
            hello = {"GetVersions": unary(self.get_versions)}
            name = "cloudquery.discovery.v1.Discovery"
            handlers.append(grpc.method_handlers_generic_handler(name, hello))
        server.add_generic_rpc_handlers(tuple(handlers))

    def log(self, level: str, message: str, **facts: Any) -> None:
        if self._print:
            line = {"level": level, "module": "scripted-src", **facts, "message": message}
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()

    def get_versions(self, _request: bytes, _context: Any) -> bytes:
        versions = self.script.get("versions", [0, 1, 2, 3])
        return discovery_pb2.GetVersions.Response(versions=versions).SerializeToString()

    def get_name(self, _request: bytes, _context: Any) -> bytes:
        return pb.GetName.Response(name=self.script.get("name", "scripted")).SerializeToString()

    def get_version(self, _request: bytes, _context: Any) -> bytes:
        version = self.script.get("version", "v1.0.0")
        return pb.GetVersion.Response(version=version).SerializeToString()

    def get_spec_schema(self, _request: bytes, _context: Any) -> bytes:
        answer = pb.GetSpecSchema.Response(json_schema=self.script.get("spec_schema"))
        return answer.SerializeToString()

    def init(self, request: bytes, context: Any) -> bytes:
        told = pb.Init.Request.FromString(request)
        self.calls.append(("Init", told))
        for event in self._events(at="init"):
            list(self._happen(event, context, Stream(self, context, None)))
        self.spec = json.loads(told.spec or b"{}")
        return pb.Init.Response().SerializeToString()

    def connection_tested(self, request: bytes, _context: Any) -> bytes:
        self.calls.append(("TestConnection", pb.TestConnection.Request.FromString(request)))
        said = self.script["test_connection"]
        return pb.TestConnection.Response(
            success=said["success"],
            failure_code=said.get("code", ""),
            failure_description=said.get("words", ""),
        ).SerializeToString()

    def get_tables(self, request: bytes, context: Any) -> bytes:
        told = pb.GetTables.Request.FromString(request)
        self.calls.append(("GetTables", told))
        if self.spec is None:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "plugin is not initialized")
        for event in self._events(at="tables"):
            list(self._happen(event, context, Stream(self, context, None)))
        schemas = [encode.schema_bytes(contents.schema(t)) for t in self.selected(told, context)]
        return pb.GetTables.Response(tables=schemas).SerializeToString()

    def finish(self, _request: bytes, _context: Any) -> bytes:
        self.calls.append(("Close", None))
        return pb.Close.Response().SerializeToString()

    def sync(self, request: bytes, context: Any) -> Iterator[bytes]:
        told = pb.Sync.Request.FromString(request)
        self.calls.append(("Sync", told))
        if self.script.get("once") and self._used:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "plugin already in use")
        self._used = True
        yield from Stream(self, context, told).messages()

    def selected(self, told: Any, context: Any) -> list[dict[str, Any]]:
        """Tables of the patterns, as Go selects: children with their parents, a pattern without match fails."""
        for pattern in [*told.tables, *told.skip_tables]:
            if not any(fnmatch.fnmatch(t["name"], pattern) for t in self.tables):
                words = f"tables include a pattern {pattern} with no matches"
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, words)
        chosen: list[dict[str, Any]] = []
        for table in self.tables:
            if any(fnmatch.fnmatch(table["name"], p) for p in told.skip_tables):
                continue
            parent = table.get("parent") in [t["name"] for t in chosen]
            by_parent = parent and not told.skip_dependent_tables
            if by_parent or any(fnmatch.fnmatch(table["name"], p) for p in told.tables):
                chosen.append(table)
        return chosen

    def accounts(self) -> list[str]:
        named = (self.spec or {}).get("accounts") or self.script.get("accounts", ["a1"])
        return [a["id"] if isinstance(a, dict) else a for a in named]

    def rows(self, table: dict[str, Any], account: str) -> int:
        said = (self.spec or {}).get("rows")
        said = said.get(account) if isinstance(said, dict) else said
        found = [n for n in (said, table.get("rows"), self.script.get("rows")) if n is not None]
        return int(found[0]) if found else 10

    def _events(self, **where: Any) -> list[dict[str, Any]]:
        return [
            e
            for e in self.script.get("events", [])
            if all(e.get(key) == value for key, value in where.items())
        ]

    def _happen(self, event: dict[str, Any], context: Any, stream: Stream) -> Iterator[bytes]:
        match event["do"]:
            case "error":
                stream.failed.add(event["table"])
                self.log("error", event["error"], table=event["table"])
                yield encode.response(error={"table_name": event["table"], "error": event["error"]})
            case "abort":
                code = grpc.StatusCode[event.get("code", "INTERNAL")]
                context.abort(code, event.get("words", "failed to sync: it did not work"))
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                sys.stderr.write("panic: scripted end\n")
                sys.stderr.flush()
                os._exit(event.get("code", 137))
            case "hang":
                while context.is_active() and not self.over.wait(0.05):
                    continue
            case "until":
                while not Path(event["path"]).exists() and not self.over.wait(0.01):
                    continue
            case "log":
                words = event.get("words", "scripted line").ljust(event.get("bytes", 0), "x")
                for n in range(event.get("lines", 1)):
                    facts = {"table": event["table"]} if "table" in event else {}
                    self.log(event.get("level", "info"), words, n=n, **facts)
            case "schema_change":
                stream.added = [contents.ADDED]
            case "migrate":
                table = next(t for t in self.tables if t["name"] == event["table"])
                yield stream.migrate(table)
            case "checkpoint":
                yield encode.checkpoint(event["state"], event.get("version"))
            case "delete_record":
                yield encode.delete_record(event)
            case "unknown":
                yield b"\x7a\x02\x08\x01"
            case "big":
                shape = contents.schema({"name": "things"}, contents.COLUMNS[3:5])
                values = [pa.array([0]), pa.array(["x" * event["bytes"]])]
                yield encode.insert(pa.RecordBatch.from_arrays(values, schema=shape))
            case "raw":
                yield bytes.fromhex(event["hex"])
            case other:
                raise ValueError(f"no such event: {other}")


class Stream:
    """One Sync: what it has sent, so that events know their moment."""

    def __init__(self, plugin: Plugin, context: Any, told: Any) -> None:
        self.plugin = plugin
        self.context = context
        self.told = told
        self.failed: set[str] = set()
        self.added: list[list[str]] = []
        self._sent = 0
        self._of_account = 0

    def messages(self) -> Iterator[bytes]:
        plugin = self.plugin
        tables = plugin.selected(self.told, self.context)
        yield from self._at("start")
        for table in tables:
            yield self.migrate(table)
        state = self._state(tables)
        for account in plugin.accounts():
            self._of_account = 0
            self.failed.clear()
            for table in tables:
                yield from self._table(table, account, state)
        yield from self._at("end")

    def migrate(self, table: dict[str, Any]) -> bytes:
        shape = contents.schema(table, contents.columns_of(table) + self.added)
        return encode.response(migrate_table={"table": encode.schema_bytes(shape)})

    def _table(self, table: dict[str, Any], account: str, state: dict[str, str]) -> Iterator[bytes]:
        plugin, key = self.plugin, f"{table['name']}/{account}"
        total, step = plugin.rows(table, account), plugin.script.get("rows_per_message", 50)
        first = int(state.get(key, 0)) if table.get("incremental") else 0
        for begin in range(first, total, step):
            yield from self._before(account)
            if table["name"] in self.failed:
                return
            columns = contents.columns_of(table) + self.added
            batch = contents.rows(table, account, begin, min(begin + step, total), columns)
            yield encode.insert(batch)
            self._sent += 1
            self._of_account += 1
        plugin.log(
            "info",
            "table sync finished",
            client=account,
            table=table["name"],
            resources=total,
            errors=0,
        )
        if table.get("incremental") and plugin.script.get("checkpoints"):
            if self.told.supports_checkpoints:
                yield encode.checkpoint({key: str(total)}, None)
            elif self.told.HasField("backend"):
                encode.write_state(self.told.backend, {key: str(total)})

    def _before(self, account: str) -> Iterator[bytes]:
        for event in self.plugin.script.get("events", []):
            if "message" not in event or event.get("account", account) != account:
                continue
            if event["message"] == (self._of_account if "account" in event else self._sent):
                yield from self.plugin._happen(event, self.context, self)

    def _at(self, moment: str) -> Iterator[bytes]:
        for event in self.plugin._events(at=moment):
            yield from self.plugin._happen(event, self.context, self)

    def _state(self, tables: list[dict[str, Any]]) -> dict[str, str]:
        wanted = self.plugin.script.get("checkpoints") and any(t.get("incremental") for t in tables)
        return (
            encode.read_state(self.told.backend) if wanted and self.told.HasField("backend") else {}
        )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("script", type=Path)
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--log-format", default="json")
    parser.add_argument("--network", default="tcp", choices=["unix", "tcp"])
    parser.add_argument("--address", required=True)
    parser.add_argument("--no-sentry", action="store_true")
    said = parser.parse_args(arguments)
    if "://" in said.address:  # as Go, which takes a bare path
        sys.stderr.write("Error: failed to listen: bare path wanted\n")
        return 1
    plugin = Plugin(json.loads(said.script.read_text()))
    server, _ = start(plugin, said.address)
    plugin.log("info", "Source plugin server listening", address=said.address)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    plugin.over.set()
    server.stop(0).wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
