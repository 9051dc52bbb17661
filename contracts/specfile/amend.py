"""What CloudQuery fills in or leaves out of a document, done to the models before they are checked.

It writes to a destination `platform`, its own cloud service, without a document of that name; a name that
stands twice in a list counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from contracts.spec import Destination, Source
from contracts.specfile.document import SpecDocument

PLATFORM = "platform"


def amended(documents: Sequence[SpecDocument]) -> tuple[SpecDocument, ...]:
    """The documents with such lists settled, each change with a warning. Raises InputError for a source
    whose only destination is the platform.
    """
    declared = {d.name for d in documents if isinstance(d.model, Destination)}
    return tuple(_amended(d, platform=PLATFORM not in declared) for d in documents)


def _amended(document: SpecDocument, *, platform: bool) -> SpecDocument:
    match document.model:
        case Source():
            field, names = "destinations", document.model.destinations
        case Destination():
            field, names = "transformers", document.model.transformers
        case _:
            return document
    kept: list[str] = []
    warnings: list[str] = []
    for n, name in enumerate(names):
        path = ("spec", field, n)
        if name in kept:
            message = f"'{name}' stands twice in `{field}`; it counts once"
            warnings.append(document.warning(message, path))
        elif field == "destinations" and platform and name == PLATFORM:
            if set(names) == {PLATFORM}:
                message = f"{document.what} writes to CloudQuery's own platform only, which is not supported"
                hint = "add a document with `kind: destination`, and name it here"
                raise document.error(message, hint, path)
            message = "CloudQuery's own platform is not supported; the destination is left out"
            warnings.append(document.warning(message, path))
        else:
            kept.append(name)
    if not warnings:
        return document
    model = document.model.model_copy(update={field: tuple(kept)})
    return replace(document, model=model, warnings=(*document.warnings, *warnings))
