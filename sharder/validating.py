"""`sharder validate-config`: everything that can be said of a spec without a network, all of it at once.

Each document is judged by itself first; what holds between documents is judged once each can be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from contracts.errors import InputError
from contracts.settings import Settings
from contracts.spec import Fleet, Source, Spec
from contracts.specfile import LoadedSpec, SpecDocument, load
from contracts.specfile.document import read_document
from contracts.specfile.split import files, read_text, sections
from sharder import check, place
from sharder.select import select
from sharder.sources import open_source
from sharder.wishes import Wishes, now
from worker.sources import registry


@dataclass(frozen=True)
class Verdict:
    """`errors` are those that `submit` would meet, too; `notes` say what only a connection can tell."""

    errors: Sequence[InputError]
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()


def validate(paths: Sequence[str], wishes: Wishes, environment: Mapping[str, str]) -> Verdict:
    """Never raises InputError for what the spec holds: it is in the verdict."""
    at = now()
    documents: list[SpecDocument] = []
    errors: list[InputError] = []
    try:
        found = [s for path in files(paths) for s in sections(read_text(path), str(path))]
    except InputError as error:
        return Verdict([error])
    for section in found:
        try:
            documents.append(read_document(section, environment, at))
        except InputError as error:
            errors.append(error)
    if errors:
        errors += [e for d in documents for e in _of(d, [])]
        return Verdict(errors)
    try:
        loaded = load(paths, environment, at)
    except InputError as error:
        return Verdict([error, *(e for d in documents for e in _of(d, []))])
    settings = place.settle(wishes.over(environment), loaded.spec.fleet)
    warnings = list(loaded.warnings)
    for document in loaded.documents:
        errors += [*_of(document, warnings), *_secrets(document, settings)]
    notes = [n for d in loaded.documents for n in _notes(d, settings)]
    if not errors:
        errors += [e for d in loaded.documents for e in _tables(d)]
    return Verdict(errors, warnings, notes)


def alone(document: SpecDocument) -> LoadedSpec:
    """One document of a spec, to be judged by itself."""
    return LoadedSpec(Spec(), (document,))


def _of(document: SpecDocument, warnings: list[str]) -> Iterator[InputError]:
    """What is wrong with the options of the document's plugin; what is merely moot becomes a warning."""
    try:
        warnings += check.check(alone(document))
    except InputError as error:
        yield error


def _secrets(document: SpecDocument, settings: Settings) -> Iterator[InputError]:
    """On a fleet a secret that is written out would be stored on the stage."""
    if not settings.broker:
        return
    try:
        check.refuse_literals(alone(document))
    except InputError as error:
        yield error


def _tables(document: SpecDocument) -> Iterator[InputError]:
    """Patterns that match no table, and what the source itself refuses, where neither needs a connection."""
    spec = document.model
    if not isinstance(spec, Source) or check.foreign(document) or not _static(spec):
        return
    try:
        source = open_source(document, Fleet())
        try:
            select(spec, source.tables(), document)
        finally:
            source.close()
    except InputError as error:
        yield error if error.where else document.error(error.message, error.hint, ("spec", "spec"))


def _static(source: Source) -> bool:
    entry = registry.ENTRIES.get(source.plugin)
    return entry is not None and entry.static


def _notes(document: SpecDocument, settings: Settings) -> Iterator[str]:
    where = document.where(("spec",))
    for name, offset in document.expanded.left:
        place_ = document.origin.where(offset)
        who = "the loader must have it" if settings.broker else "export it before you submit"
        yield f"{place_}: the variable {name} is not set here; {who}"
    spec = document.model
    if isinstance(spec, Source) and check.foreign(document):
        yield (
            f"{where}: {document.what} is a program of its own: its options and tables are checked "
            "when it runs; see: sharder plan"
        )
    elif isinstance(spec, Source) and not _static(spec):
        yield f"{where}: the tables of {document.what} are known once it is connected; see: sharder plan"
