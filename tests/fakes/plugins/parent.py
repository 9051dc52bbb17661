"""A process that runs a plugin and waits to be killed: `python -m tests.fakes.plugins.parent COMMAND FORKS`.

It prints, as JSON on one line, the numbers of the plugin and of its keeper, and the target; with FORKS=1 also
that of a child which it has forked, and which has all that was open.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

from contracts.plugin.plugin import Plugin, Surroundings
from contracts.plugin.program import Process, running

if __name__ == "__main__":
    around = Surroundings(dict(os.environ))
    with running(Plugin("source", "orphan", sys.argv[1], "local"), around) as program:
        assert isinstance(program, Process)
        facts = {"plugin": program.pid, "keeper": program.keeper_pid, "target": program.target}
        if sys.argv[2] == "1":
            facts["child"] = os.fork()
            if facts["child"] == 0:
                signal.pause()
        print(json.dumps(facts), flush=True)
        threading.Event().wait()
