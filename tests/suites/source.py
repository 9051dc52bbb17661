"""The suite of the Source protocol, which authors of other sources have too: it lives in the package."""

from worker.sources.suite import NOW, Reading, SourceSuite, context, frozen, read

__all__ = ["NOW", "Reading", "SourceSuite", "context", "frozen", "read"]
