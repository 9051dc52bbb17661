"""Reading past page one: which inputs ask for the next page, and when there is none."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from contracts.errors import Permanent
from worker.sources.aws.locked import Paging

Token = Mapping[str, Any]  # inputs that ask for the next page


def following(paging: Paging | None, output: Mapping[str, Any], asked: Token) -> Token | None:
    """The inputs of the next page, None after the last one. `asked` are those of this page.

    Raises Permanent if the service gives the same token again: it would never end.
    """
    if paging is None:
        return None
    if paging.more and not _found(paging.more, output):
        return None
    pairs = zip(paging.send, paging.take, strict=True)
    token = {send: found for send, take in pairs if (found := _found(take, output))}
    if not token:
        return None
    if token == asked:
        raise Permanent(
            f"the token {str(token)[:80]} came back for its own page: reading on would never end"
        )
    return token


def _found(path: str, output: Mapping[str, Any]) -> Any:
    if path.isidentifier():
        return output.get(path)
    return _expression(path).search(output)


@lru_cache(maxsize=256)
def _expression(path: str) -> Any:
    """Some paginators write more than a name: `NextMarker || Contents[-1].Key`."""
    import jmespath  # type: ignore[import-untyped]  # it comes with botocore

    return jmespath.compile(path)
