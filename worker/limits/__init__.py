"""How much we may ask of the systems that we read: calls per second, and clients read at once.

`bucket` decides, `machine` shares among the processes of one machine, `fleet` through Redis, and
`pace` and `flight` wait for what those say. See docs/design/limits.md.
"""
