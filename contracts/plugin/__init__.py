"""CloudQuery's plugins: programs that speak the plugin protocol v3 over gRPC, with Arrow inside.

`program` starts and watches one, `client` talks to it. The only home of grpc and of the protocol's
messages, imported when used: a process that runs no plugin never loads them.
"""
