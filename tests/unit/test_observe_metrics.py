"""Metrics: served by real processes over HTTP, added up over children, and nothing imported when unused."""

from __future__ import annotations

import subprocess
import sys
from urllib.request import urlopen

import pytest

from contracts.errors import InputError
from contracts.observe import page
from contracts.observe.exporter import exporting
from contracts.observe.metrics import METRICS
from tests.fakes.servers import ROOT, free_port

CHILD = """
import sys
from pathlib import Path
from contracts.observe import metrics
metrics.enable(Path(sys.argv[1]), int(sys.argv[2]))
metrics.count("sharder_rows_total", 5, source="aws")
metrics.observe("sharder_shard_seconds", 2.0, source="aws")
metrics.put("sharder_workers", 3)
"""


def asked(port: int) -> dict[str, float]:
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def python(code: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_children_count_is_added_up_and_a_replaced_child_goes_on(tmp_path):
    for slot in ("0", "1", "1"):  # the last one replaces its predecessor
        python(CHILD, str(tmp_path), slot)
    files = sorted(p.name for p in tmp_path.iterdir())
    port = free_port()
    with exporting(port, tmp_path):
        found = asked(port)
    assert found['sharder_rows_total{source="aws"}'] == 15
    assert found['sharder_shard_seconds_count{source="aws"}'] == 3
    assert found["sharder_workers"] == 3
    assert len(files) == 6  # counters, histograms and gauges of two slots


def test_the_exporter_ends_with_its_program(tmp_path):
    port = free_port()
    with exporting(port, tmp_path):
        asked(port)
    with pytest.raises(OSError):
        asked(port)


def test_a_port_that_is_taken_is_said(tmp_path):
    port = free_port()
    with (
        exporting(port, tmp_path),
        pytest.raises(InputError, match=f"cannot be served on port {port}"),
        exporting(port, tmp_path),
    ):
        pass


def test_a_program_that_does_not_fork_serves_its_own():
    port = free_port()
    code = (
        "import sys; from urllib.request import urlopen; from contracts.observe import metrics\n"
        "port = int(sys.argv[1]); metrics.serve(port); metrics.put('sharder_runs_open', 2)\n"
        "print(urlopen(f'http://127.0.0.1:{port}/metrics').read().decode())"
    )
    assert "sharder_runs_open 2.0" in python(code, str(port))


def test_counting_is_nothing_and_imports_nothing_where_nobody_asked():
    code = (
        "import sys\n"
        "from contracts.observe import metrics, trace, exporter\n"
        "import worker.handle, worker.tasks, loader.handle, sharder.run\n"
        "metrics.count('sharder_rows_total', 5, source='aws')\n"
        "with trace.span('r', 'shard', ()) as span, trace.step('inner'): span.put(rows=1)\n"
        "print(sorted({'prometheus_client', 'opentelemetry'} & set(sys.modules)))"
    )
    assert python(code).strip() == "[]"


def test_the_reference_page_lists_what_there_is():
    there = (ROOT / "docs/reference/metrics.md").read_text()
    assert there == page.page(), "run `make docs`"


@pytest.mark.parametrize("name", METRICS)
def test_names_are_those_that_prometheus_asks_for(name):
    metric = METRICS[name]
    assert name.startswith("sharder_")
    assert name.endswith("_total") == (metric.kind == "counter")
    assert not {"run", "account", "client", "table"} & set(metric.labels)


def test_example_alerts_ask_only_for_metrics_that_exist():
    import re

    text = (ROOT / "docs/how-to/monitor.md").read_text()
    asked_for = {
        re.sub("_(bucket|count|sum)$", "", n) for n in re.findall(r"\bsharder_[a-z_]+", text)
    }
    assert asked_for - {"sharder_loads", "sharder_cells"} <= set(METRICS)
