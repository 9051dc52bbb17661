"""Spec files → models and documents: the front door of this package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from contracts.errors import InputError
from contracts.spec import Destination, Fleet, Source, Spec, Transformer
from contracts.specfile.amend import amended
from contracts.specfile.checks import check
from contracts.specfile.document import AnyModel, SpecDocument, read, read_document
from contracts.specfile.secrets import resolver
from contracts.specfile.split import files, read_text, sections


@dataclass(frozen=True)
class LoadedSpec:
    """The spec of one command. A document's index in `documents` is its number on the stage."""

    spec: Spec = field(repr=False)  # holds expanded values
    documents: tuple[SpecDocument, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.spec.warnings

    def number(self, kind: str, name: str) -> int:
        """Index of a document. Raises KeyError if there is none."""
        for n, document in enumerate(self.documents):
            if (document.kind, document.name) == (kind, name):
                return n
        raise KeyError((kind, name))

    def document(self, kind: str, name: str) -> SpecDocument:
        return self.documents[self.number(kind, name)]


def load(
    paths: Sequence[str | Path],
    environment: Mapping[str, str],
    now: datetime,
    *,
    relaxed: bool = False,
) -> LoadedSpec:
    """Read files and directories of spec documents.

    Sources are expanded whole; in the options of destinations and transformers a variable that is
    not set here is left as it is written. `relaxed` is for commands that read no rows.
    Raises InputError, and nothing else, for whatever the files hold.
    """
    found = [s for path in files(paths) for s in sections(read_text(path), str(path))]
    if not found:
        hint = "write at least one source and one destination"
        raise InputError("the spec is empty", hint, where=", ".join(map(str, paths)))
    documents = amended([read_document(section, environment, now) for section in found])
    warnings = check(documents, relaxed=relaxed)
    models = [d.model for d in documents]
    spec = Spec(
        sources=tuple(m for m in models if isinstance(m, Source)),
        destinations=tuple(m for m in models if isinstance(m, Destination)),
        transformers=tuple(m for m in models if isinstance(m, Transformer)),
        fleet=next((m for m in models if isinstance(m, Fleet)), Fleet()),
        warnings=tuple(warnings),
    )
    return LoadedSpec(spec, documents)


def expand(text: str, environment: Mapping[str, str], where: str) -> AnyModel:
    """The model of a document of the stage, every variable filled in. Raises InputError."""
    return expand_document(text, environment, where).model


def expand_document(text: str, environment: Mapping[str, str], where: str) -> SpecDocument:
    """Like `expand`, with the places of all values, for `validate`."""
    return read(text, environment, where, resolver(environment))
