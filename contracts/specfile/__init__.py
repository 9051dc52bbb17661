"""Spec files: what the user wrote, as models, with file, line and column for every message."""

from contracts.specfile.document import AnyModel, SpecDocument, outline
from contracts.specfile.load import LoadedSpec, expand, expand_document, load
from contracts.specfile.origin import nearest
from contracts.specfile.secrets import conceal, line_to_write, literals, seal
from contracts.specfile.validate import validate

__all__ = [
    "AnyModel",
    "LoadedSpec",
    "SpecDocument",
    "conceal",
    "expand",
    "expand_document",
    "line_to_write",
    "literals",
    "load",
    "nearest",
    "outline",
    "seal",
    "validate",
]
