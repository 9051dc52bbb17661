"""What all documents on the stage share: JSON, a format version, and a clear refusal of newer ones."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.errors import Permanent, VersionUnknown


class Document(BaseModel):
    """A versioned JSON document. Readers accept every older version (`upgrade`) and refuse newer ones."""

    model_config = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True)

    kind: ClassVar[str]
    current: ClassVar[int] = 1

    version: int = 1

    @classmethod
    def upgrade(cls, document: dict[str, Any]) -> dict[str, Any]:
        """Turn a document of an older version into one of the current version."""
        return document

    @classmethod
    def from_bytes(cls, data: bytes, key: str = "") -> Self:
        """Raises VersionUnknown for a newer version, Permanent for anything that is not such a document."""
        try:
            document = orjson.loads(data)
            if not isinstance(document, dict):
                raise TypeError("not a JSON object")
            version = int(document.get("version", 0))
            if version > cls.current:
                raise VersionUnknown(
                    f"{key or cls.kind}: {cls.kind} of format version {version}; this release reads up to {cls.current}",
                    "upgrade this program; the document was left untouched",
                )
            return cls.model_validate(cls.upgrade(document))
        except (orjson.JSONDecodeError, ValidationError, TypeError, ValueError) as error:
            raise Permanent(f"{key or 'document'} is not a valid {cls.kind}: {error}") from error

    def to_bytes(self) -> bytes:
        """Indented, so that a person can read it; keys in the order of the model."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_INDENT_2)
