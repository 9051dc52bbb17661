"""The files of the stage, read back: part → Arrow batches in the schema that the plan froze.

`text` is the textual form of every Arrow value, `quoted` (CSV) and `parquet` are the two formats; each keeps
its two directions side by side, because a difference between them would be a lost value.
"""

from contracts.stagefile.read import read_part

__all__ = ["read_part"]
