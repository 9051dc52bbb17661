"""A source plugin on CloudQuery's Python SDK, for tests: `python -m tests.fakes.plugins.estate serve …`.

Accounts of an imagined estate. Spec:

    accounts: [a, b]        # or a list of {id: a}; discovered where it is missing: one, two, three
    rows: 3                 # machines of an account, each with two disks; as many events
    sizes: {a: 7}           # rows of one account
    state: true             # use the state backend, if one is given; events then begin after the cursor
    secret: text            # logged at the start: a secret that must not be seen anywhere
    faults: {a: {…}}        # what goes wrong for an account

Tables: estate_machines → estate_disks, and estate_events, which is incremental. As with every plugin of this SDK
there is no `_cq_id`; the account stands in the column `account`. Faults, of which an account may have several:

    after: 2                # rows of estate_machines (of `table`) that come before it; 0
    exit: 3                 # the process ends with this code
    signal: 9               # the process ends by this signal
    raise: estate_disks     # the resolver of this table fails
    bad_value: estate_machines  # one row of this table has a value that the SDK drops, with a line of its log
    hang: true              # nothing more comes, and SIGINT is ignored
    stderr: 1000000         # bytes on standard error, in one line
    log_line: 3000000       # bytes of one line of the log, at level error
    memory: 500             # MiB that it takes
    child: true             # a child process that lives for ever, and says its number at level warning
    table: estate_machines  # the table in which exit, signal, hang, stderr, log_line, memory, child happen
    once: /path             # only if this file does not exist yet; it is made then
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from cloudquery.sdk import plugin, schema, serve
from cloudquery.sdk.scheduler import Scheduler, TableResolver
from cloudquery.sdk.stateclient.stateclient import StateClientBuilder
from cloudquery.sdk.types import JSONType

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
DISCOVERED = ("one", "two", "three")


def _key(name: str, type_: pa.DataType, **more: bool) -> schema.Column:
    return schema.Column(name, type_, primary_key=True, not_null=True, **more)


def _disks() -> schema.Table:
    columns = [
        _key("account", pa.string()),
        _key("machine_id", pa.string()),
        _key("id", pa.string()),
        schema.Column("gib", pa.int64()),
    ]
    return schema.Table("estate_disks", columns, title="Disks", description="Disks of machines")


def _machines() -> schema.Table:
    disks = _disks()
    columns = [
        _key("account", pa.string()),
        _key("id", pa.string()),
        schema.Column("cores", pa.int64()),
        schema.Column("created", pa.timestamp("us", tz="UTC")),
        schema.Column("tags", JSONType()),
    ]
    table = schema.Table("estate_machines", columns, "Machines", "Machines", relations=[disks])
    disks.parent = table
    return table


def _events() -> schema.Table:
    columns = [
        _key("account", pa.string()),
        _key("seq", pa.int64(), incremental_key=True),
        schema.Column("text", pa.string()),
    ]
    return schema.Table("estate_events", columns, "Events", "Events", is_incremental=True)


class Account:
    """What the SDK calls a client. The scheduler hands the last one of a table to the next table."""

    def __init__(self, name: str, estate: Estate) -> None:
        self.name, self.estate = name, estate

    def id(self) -> str:
        return self.name


class _Resolver(TableResolver):
    def __init__(self, table: schema.Table, estate: Estate) -> None:
        super().__init__(table, [_Resolver(child, estate) for child in table.relations])
        self._estate = estate

    def multiplex(self, client: Account) -> list[Account]:
        return [Account(name, self._estate) for name in self._estate.accounts]

    def resolve(self, client: Account, parent_resource: Any) -> Iterator[dict[str, Any]]:
        rows = {"estate_machines": _machine_rows, "estate_events": _event_rows}
        if self.table.name == "estate_disks":
            found = _disk_rows(client, parent_resource.item)
        else:
            found = rows[self.table.name](client)
        fault = self._estate.fault(client.name, self.table.name)
        n = 0
        for n, row in enumerate(found):
            if n == fault.get("after", 0):
                _happen(fault)
                if fault.get("raise") == self.table.name:
                    raise RuntimeError(f"the resolver of {self.table.name} failed")
                if fault.get("bad_value") == self.table.name:
                    number = next(k for k, v in row.items() if isinstance(v, int))
                    yield row | {number: "no number"}
                    continue
            yield row
        if self.table.name == "estate_events":
            self._estate.remember(client.name, n)


def _machine_rows(client: Account) -> Iterator[dict[str, Any]]:
    for n in range(client.estate.rows(client.name)):
        yield {
            "account": client.name,
            "id": f"m-{n}",
            "cores": n % 8 + 1,
            "created": EPOCH + timedelta(minutes=n),
            "tags": {"n": n},
        }


def _disk_rows(client: Account, machine: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for n in range(2):
        named = {"account": client.name, "machine_id": machine["id"]}
        yield {**named, "id": f"{machine['id']}-d-{n}", "gib": 8 << n}


def _event_rows(client: Account) -> Iterator[dict[str, Any]]:
    for seq in range(client.estate.cursor(client.name) + 1, client.estate.rows(client.name) + 1):
        yield {"account": client.name, "seq": seq, "text": f"event {seq}"}


def _happen(fault: dict[str, Any]) -> None:
    """The fault of a process."""
    if size := fault.get("stderr"):
        os.write(2, b"e" * size + b"\n")
    if size := fault.get("log_line"):
        print(json.dumps({"level": "error", "table": fault["table"], "message": "m" * size}))
        sys.stdout.flush()
    if fault.get("child"):
        child = subprocess.Popen(["sleep", "1000000"], start_new_session=True)
        print(json.dumps({"level": "warn", "message": f"child {child.pid}"}), flush=True)
    if mib := fault.get("memory"):
        fault["kept"] = bytearray(b"x") * (mib << 20)
        threading.Event().wait()
    if fault.get("hang"):
        threading.Event().wait()
    if number := fault.get("signal"):
        os.kill(os.getpid(), number)
        threading.Event().wait()
    if "exit" in fault:
        os._exit(fault["exit"])


class Estate(plugin.Plugin):
    def __init__(self) -> None:
        options = plugin.plugin.Options(team="tests", kind="source")
        super().__init__("estate", "v1.0.0", options)
        self.accounts: tuple[str, ...] = DISCOVERED
        self._spec: dict[str, Any] = {}
        self._state: Any = None

    def set_logger(self, logger: Any) -> None:
        self._logger = logger

    def init(self, spec: bytes, no_connection: bool = False) -> None:
        self._spec = json.loads(spec or b"{}")
        accounts = self._spec.get("accounts", DISCOVERED)
        if not isinstance(accounts, list | tuple):
            raise TypeError("accounts is no list")
        self.accounts = tuple(a["id"] if isinstance(a, dict) else a for a in accounts)
        if any(f.get("hang") for f in self._spec.get("faults", {}).values()):
            signal_is_ignored()
        if secret := self._spec.get("secret"):
            self._logger.info("logging in", password=secret)

    def get_tables(self, options: plugin.TableOptions) -> list[schema.Table]:
        chosen = (options.tables or ["*"], options.skip_tables or [], options.skip_dependent_tables)
        return schema.filter_dfs([_machines(), _events()], *chosen)

    def sync(self, options: plugin.SyncOptions) -> Any:
        chosen = (options.tables, options.skip_tables, options.skip_dependent_tables)
        tables = self.get_tables(plugin.TableOptions(*chosen))
        scheduler = Scheduler(concurrency=4, logger=self._logger)
        if self._spec.get("state"):
            backend = options.backend_options
            build = StateClientBuilder.build
            self._state = build(backend_options=backend, checkpoints=scheduler.checkpoints)
            scheduler.set_post_sync_hook(self._state.flush)
        resolvers = [_Resolver(table, self) for table in tables]
        return scheduler.sync(Account("estate", self), resolvers)

    def close(self) -> None:
        """Nothing is held."""

    def rows(self, account: str) -> int:
        return int(self._spec.get("sizes", {}).get(account, self._spec.get("rows", 3)))

    def cursor(self, account: str) -> int:
        return int((self._state and self._state.get_key(f"events/{account}")) or 0)

    def remember(self, account: str, n: int) -> None:
        if self._state:
            self._state.set_key(f"events/{account}", str(self.rows(account)))
            self._state.flush()

    def fault(self, account: str, table: str) -> dict[str, Any]:
        """What happens in this table of this account."""
        fault: dict[str, Any] = dict(self._spec.get("faults", {}).get(account, {}))
        fault.setdefault("table", "estate_machines")
        if table not in {fault["table"], fault.get("raise"), fault.get("bad_value")}:
            return {}
        if once := fault.get("once"):
            try:
                Path(once).touch(exist_ok=False)
            except FileExistsError:
                return {}
        if table != fault["table"]:
            return {k: v for k, v in fault.items() if k in {"after", "raise", "bad_value"}}
        return fault


def signal_is_ignored() -> None:
    """As in a plugin of which a resolver hangs in C. Init runs in a thread, where no signal may be set."""
    import ctypes

    ctypes.CDLL(None).signal(signal.SIGINT, ctypes.c_void_p(1))


if __name__ == "__main__":
    serve.PluginCommand(Estate()).run(sys.argv[1:])
