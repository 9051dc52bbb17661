"""Rules that hold between the documents of a spec."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from contracts.errors import InputError
from contracts.spec import Destination, Fleet, Plugin, Source, Transformer
from contracts.specfile.document import SpecDocument
from contracts.specfile.origin import nearest
from contracts.specfile.surprises import surprises


def check(documents: Sequence[SpecDocument], *, relaxed: bool) -> list[str]:
    """Warnings, in the order of the documents. Raises InputError for the first broken rule.

    relaxed: for commands that read no rows; one source or one destination is enough then.
    """
    _complete(documents, relaxed=relaxed)
    _unique(documents)
    warnings = [w for d in documents for w in d.warnings]
    for document in documents:
        warnings += surprises(document)
        if isinstance(document.model, Source) and not relaxed:
            warnings += _source(document, document.model, documents)
        elif isinstance(document.model, Destination):
            warnings += _destination(document, document.model, documents)
        elif isinstance(document.model, Fleet):
            warnings += _fleet(document, document.model, documents)
    if not relaxed:
        _one_version(documents)
        warnings += _shared_cursors(documents)
        warnings += _unused(documents)
    return warnings


def _names(documents: Iterable[SpecDocument], kind: type[Plugin]) -> list[str]:
    return [d.model.name for d in documents if isinstance(d.model, kind)]


def _complete(documents: Sequence[SpecDocument], *, relaxed: bool) -> None:
    sources, destinations = _names(documents, Source), _names(documents, Destination)
    files = ", ".join(dict.fromkeys(d.file for d in documents))
    if relaxed and not sources and not destinations:
        hint = "add a document with `kind: source` or `kind: destination`"
        raise InputError("the spec has neither a source nor a destination", hint, files)
    if not relaxed and not sources:
        raise InputError("the spec has no source", "add a document with `kind: source`", files)
    if not relaxed and not destinations:
        hint = "add a document with `kind: destination`"
        raise InputError("the spec has no destination", hint, files)


def _unique(documents: Sequence[SpecDocument]) -> None:
    first: dict[tuple[str, str], SpecDocument] = {}
    for document in documents:
        earlier = first.setdefault((document.kind, document.name), document)
        if earlier is document:
            continue
        if document.kind == "fleet":
            message = f"a second document of kind fleet; the first is at {earlier.where(())}"
            raise document.error(message, "write all settings into one of them", ())
        message = f"a second {document.what}; the first is at {earlier.where(('spec', 'name'))}"
        raise document.error(message, "names are unique per kind over all files", ("spec", "name"))


def _source(
    document: SpecDocument, source: Source, documents: Sequence[SpecDocument]
) -> Iterator[str]:
    declared = _names(documents, Destination)
    for i, name in enumerate(source.destinations):
        if name not in declared:
            raise _undeclared(document, "destination", name, declared, ("spec", "destinations", i))
    if source.backend_options:
        yield from _backend(document, source, declared)


def _backend(document: SpecDocument, source: Source, declared: Sequence[str]) -> Iterator[str]:
    options = source.backend_options
    assert options
    place = ("spec", "backend_options", "connection")
    name = options.destination
    if not name:
        example = f"@@plugins.{(declared or ['NAME'])[0]}.connection"
        message = f"`connection` of {document.what} does not name a destination"
        raise document.error(message, f'write connection: "{example}"', place)
    if name not in declared:
        raise _undeclared(document, "destination", name, declared, place)
    if name not in source.destinations:
        yield document.warning(
            f"the cursors of source '{source.name}' live in '{name}', to which it writes no rows,"
            " so that rows and cursor are not committed together",
            place,
        )


def _undeclared(
    document: SpecDocument,
    kind: str,
    name: str,
    declared: Sequence[str],
    path: tuple[str | int, ...],
) -> InputError:
    near = nearest(name, declared)
    hint = f"did you mean '{near}'?" if near else f"add a document with `kind: {kind}`"
    if not name:
        hint = "remove the empty entry"
    return document.error(f"{document.what} names the unknown {kind} '{name}'", hint, path)


def _destination(
    document: SpecDocument, destination: Destination, documents: Sequence[SpecDocument]
) -> Iterator[str]:
    declared = _names(documents, Transformer)
    for i, name in enumerate(destination.transformers):
        if name not in declared:
            raise _undeclared(document, "transformer", name, declared, ("spec", "transformers", i))
    if destination.sync_group_id and destination.write_mode == "overwrite-delete-stale":
        default = "" if "write_mode" in destination.model_fields_set else ", the default write_mode"
        message = f"`sync_group_id` cannot go with overwrite-delete-stale{default}"
        hint = "write write_mode: append, or overwrite"
        raise document.error(message, hint, ("spec", "sync_group_id"))
    order = [name for name in declared if name in destination.transformers]
    if order != list(destination.transformers):
        message = (
            f"transformers run in the order of their documents, here {', '.join(order)};"
            " CloudQuery's migrate takes the order of this list: make them equal"
        )
        yield document.warning(message, ("spec", "transformers"))


def _fleet(
    document: SpecDocument, fleet: Fleet, documents: Sequence[SpecDocument]
) -> Iterator[str]:
    """A fleet file may serve many specs, so that a source it names need not be here; typos are told."""
    declared = _names(documents, Source)
    for name in fleet.sources:
        if name not in declared and (near := nearest(name, declared)):
            message = f"the fleet has limits for '{name}'; this spec has a source '{near}'"
            yield document.warning(message, ("spec", "sources", name))


def _one_version(documents: Sequence[SpecDocument]) -> None:
    """Sources of one plugin that write to the same destination must be of one version."""
    sources = [(d, d.model) for d in documents if isinstance(d.model, Source)]
    versioned = [pair for pair in sources if pair[1].registry in {"cloudquery", "github"}]
    by_path = sorted(versioned, key=lambda pair: (pair[1].registry, pair[1].path))
    for _, group in groupby(by_path, key=lambda pair: (pair[1].registry, pair[1].path)):
        (_, first), *others = group
        for document, model in others:
            shared = sorted({*first.destinations} & {*model.destinations})
            if shared and model.version and first.version and model.version != first.version:
                message = (
                    f"the sources '{first.name}' and '{model.name}' write to '{shared[0]}' with"
                    f" different versions of {model.path}"
                )
                hint = f"{first.version} and {model.version}: make them equal"
                raise document.error(message, hint, ("spec", "version"))


def _shared_cursors(documents: Sequence[SpecDocument]) -> Iterator[str]:
    """CloudQuery's cursors carry no source name: two sources of one plugin would overwrite each other's."""
    first: dict[tuple[str, str, str], str] = {}
    for document in documents:
        source = document.model
        if not isinstance(source, Source) or not (options := source.backend_options):
            continue
        key = (source.path, options.destination, options.table_name.lower())
        earlier = first.setdefault(key, source.name)
        if earlier != source.name:
            message = (
                f"the sources '{earlier}' and '{source.name}' keep their cursors in the same table,"
                " where CloudQuery mixes them up; give each a `table_name` of its own"
            )
            yield document.warning(message, ("spec", "backend_options", "table_name"))


def _unused(documents: Sequence[SpecDocument]) -> Iterator[str]:
    """Destinations and transformers that nobody names."""
    sources = [d.model for d in documents if isinstance(d.model, Source)]
    named = {name for source in sources for name in source.destinations}
    named |= {s.backend_options.destination for s in sources if s.backend_options}
    used = {t for d in documents if isinstance(d.model, Destination) for t in d.model.transformers}
    for document in documents:
        if isinstance(document.model, Destination) and document.name not in named:
            message = f"no source names the destination '{document.name}', so that it gets no rows"
            yield document.warning(message, ("spec", "name"))
        elif isinstance(document.model, Transformer) and document.name not in used:
            message = (
                f"no destination names the transformer '{document.name}', so that it never runs"
            )
            yield document.warning(message, ("spec", "name"))
