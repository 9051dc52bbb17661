"""What every test shares: hypothesis without deadlines, sockets on loopback only."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "sharder", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("sharder")
