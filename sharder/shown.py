"""Whether every destination and its transformers fit the planned tables: told before anything is extracted.

The loader asks again, with the variables that only it has; here a destination whose transformers or
options hold such a variable is left to it.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from contracts.errors import InputError
from contracts.plan import Plan, PlannedTable
from contracts.spec import Destination, Transformer
from contracts.specfile import LoadedSpec, SpecDocument, validate
from loader.documents import effective
from loader.transformers import registry
from loader.transformers.chain import Chain, refuse_clashes
from loader.warehouses import registry as warehouses


def refuse_unfit(loaded: LoadedSpec, plan: Plan) -> None:
    """Raises InputError, with the place of the destination's list, for the first table that does not fit."""
    for planned in plan.destinations:
        document = loaded.document("destination", planned.name)
        model = document.model
        assert isinstance(model, Destination)
        chain = _chain(loaded, model) if model.transformers else Chain()
        if chain is None:
            continue
        step: tuple[str, ...] = ("spec", "transformers")
        try:
            _refuse(chain, effective(model), plan)
            step = ("spec", "spec")
            if not document.expanded.left:
                options = _options(document, model)
                warehouses.admit(options, plan, model.name, chain.name)
        except InputError as error:
            if error.where:
                raise
            raise document.error(error.message, error.hint, step) from error


def surprises(loaded: LoadedSpec, plan: Plan) -> Iterator[str]:
    """Names in the options of transformers that no planned table has, which CloudQuery passes over in silence:
    what a misspelt one was to hide is shown. Of a narrowed run nothing can be said.
    """
    for planned in plan.destinations:
        document = loaded.document("destination", planned.name)
        model = document.model
        assert isinstance(model, Destination)
        chain = _chain(loaded, model) if model.transformers else None
        if chain:
            tables = [tree.table(name) for tree in _trees(plan, model) for name in tree.selected]
            for phrase in dict.fromkeys(chain.unmet(tables, plan.sync_time)):
                yield document.warning(
                    f"transformers of destination '{model.name}': {phrase}",
                    ("spec", "transformers"),
                )


def _trees(plan: Plan, destination: Destination) -> list[PlannedTable]:
    return [t for t in plan.tables if destination.name in plan.source(t.source).destinations]


def _options(document: SpecDocument, model: Destination) -> BaseModel:
    found = warehouses.options(model)
    return validate(found, model.spec, document, ("spec", "spec"), document.what)


def _refuse(chain: Chain, destination: Destination, plan: Plan) -> None:
    trees = _trees(plan, destination)
    d = warehouses.dialect(destination)
    names = (name for t in trees for name in t.selected)
    refuse_clashes(chain, names, destination.name, lambda table: d.folded(d.name_of(table)))
    for tree in trees:
        for name in tree.selected:
            chain.checked(tree.table(name), destination, plan.sync_time)


def _chain(loaded: LoadedSpec, destination: Destination) -> Chain | None:
    """None if a variable is the loader's alone, or a program to start."""
    named = [
        d
        for d in loaded.documents
        if isinstance(d.model, Transformer) and d.model.name in destination.transformers
    ]
    if any(d.expanded.left or _is_program(d) for d in named):
        return None
    return Chain(tuple(_opened(d) for d in named))


def _is_program(document: SpecDocument) -> bool:
    model = document.model
    assert isinstance(model, Transformer)
    return registry.is_program(model)


def _opened(document: SpecDocument) -> registry.Transformer:
    model = document.model
    assert isinstance(model, Transformer)
    options = validate(
        registry.options(model), model.spec, document, ("spec", "spec"), document.what
    )
    return registry.open_transformer(model, options)
