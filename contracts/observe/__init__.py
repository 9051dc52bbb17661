"""What the programs tell about themselves: log lines, metrics, traces. Nothing rests on any of it.

`log` needs nothing; `metrics` is the home of prometheus_client and `trace` that of opentelemetry, which
are imported when somebody asked for them and not before.
"""
