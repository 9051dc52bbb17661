"""The memdb of CloudQuery's Python SDK as a program: `python -m tests.fakes.plugins.memory serve …`.

A source (table_1 with table_1_relation_1, table_2) and a destination that keeps batches until it ends. As in
the SDK nothing is made of a table with `skip_dependent_tables`.
"""

from __future__ import annotations

import sys

from cloudquery.sdk import serve
from cloudquery.sdk.internal.memdb import MemDB

if __name__ == "__main__":
    serve.PluginCommand(MemDB()).run(sys.argv[1:])
