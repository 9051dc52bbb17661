"""One trace per run at a real collector, though no message carries anything of it."""

from __future__ import annotations

import pytest

from contracts.observe import trace
from tests.fakes import specs
from tests.fakes.collector import Collector
from tests.fakes.fleet import Fleet
from tests.fakes.servers import free_port

pytestmark = pytest.mark.timeout(120)
RUN = "traced"


def write(fleet: Fleet, **outer: object) -> None:
    source = specs.source("trees", {"trees": 2}, plugin="tree", **outer)
    (fleet.home / "spec.yml").write_text(specs.spec(source, specs.duckdb()))


def attributes(span) -> dict[str, object]:
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


def test_submit_plan_shards_loads_and_publishes_are_one_trace(embedded: Fleet) -> None:
    with Collector() as collector:
        write(embedded)
        embedded.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://{collector.place}"
        embedded.sharder("submit", "spec.yml", "--run-id", RUN)
    assert {s.trace_id for s in collector.spans} == {trace.trace_id(RUN).to_bytes(16)}
    (submit,) = collector.named("submit")
    assert submit.span_id == trace.root_id(RUN).to_bytes(8)
    assert submit.parent_span_id == b""
    for name in ("plan", "watch", "shard", "load"):
        assert {s.parent_span_id for s in collector.named(name)} == {submit.span_id}, name
    assert {attributes(s)["sharder.table"] for s in collector.named("shard")} == {"root0", "root1"}
    loads = collector.named("load")
    assert len(loads) == 2
    published = {s.parent_span_id for s in collector.named("publish")}
    assert published == {s.span_id for s in loads}


def test_a_source_has_a_collector_of_its_own(embedded: Fleet) -> None:
    with Collector() as collector:
        write(embedded, otel_endpoint=collector.place, otel_endpoint_insecure=True)
        embedded.sharder("submit", "spec.yml", "--run-id", RUN)
    assert {s.name for s in collector.spans} >= {"submit", "plan", "shard", "load", "publish"}


def test_a_collector_that_is_away_costs_a_line_in_the_log(embedded: Fleet) -> None:
    write(embedded)
    embedded.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{free_port()}"
    done = embedded.sharder("submit", "spec.yml", "--log-console")
    assert "event=traces_not_taken" in done.said


def test_an_endpoint_of_cloudquery_is_a_url_of_otlp_over_http() -> None:
    assert trace.url("", insecure=True) == ""
    assert trace.url("host:4318", insecure=True) == "http://host:4318/v1/traces"
    assert trace.url("host:4318", insecure=False) == "https://host:4318/v1/traces"
    assert trace.url("http://host/otlp", insecure=False) == "http://host/otlp/v1/traces"
