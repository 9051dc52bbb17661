"""`worker serve`: our sources as a plugin of CloudQuery's (protocol v3), and classes of its Python SDK.

`offer` is a source with its options, `sync` turns its events into messages, `servicer` speaks gRPC,
`server` is the program. Imported by `worker serve` alone: nothing else in the worker loads grpc for it.
"""
