"""`python -m tests.fakes.plugins.python_state CONNECTION [KEY VALUE]`: the Python SDK's own state client.

Prints what it knows as JSON, then sets the key and flushes.
"""

from __future__ import annotations

import json
import sys

from cloudquery.sdk.plugin.plugin import BackendOptions
from cloudquery.sdk.stateclient.stateclient import StateClientBuilder


def main(connection: str, *change: str) -> None:
    options = BackendOptions(table_name="state", connection=connection, supports_checkpoints=False)
    client = StateClientBuilder.build(backend_options=options)
    print(json.dumps(client.mem))
    if change:
        client.set_key(*change)
        client.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
