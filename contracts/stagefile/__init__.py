"""Files of tables: the parts of the stage in both directions, and the encoders that destinations of files share.

`text` is the textual form of every Arrow value; `quoted` (CSV), `parquet` and `lines` (JSON) are the formats. Those
of the stage keep their two directions side by side, because a difference between them would be a lost value.
`encoders` writes any of them in a dialect, `read` reads parts back in the schema that the plan froze.
"""

from contracts.stagefile.read import read_part

__all__ = ["read_part"]
