"""The options of `cloudquery/basic`: a list of transformations, each of one kind with the fields of that kind.

One model for all kinds, as CloudQuery has it, so that a misspelt field is told with its nearest name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from contracts.spec import Model
from loader.transformers import paths

Kind = Literal[
    "remove_columns", "rename_column", "add_column", "add_current_timestamp_column", "add_primary_keys",
    "obfuscate_columns", "obfuscate_columns_except", "obfuscate_sensitive_columns",
    "change_table_names", "uppercase", "lowercase", "drop_rows",
]  # fmt: skip
Unmatched = Literal["drop", "collapse", "redact"]

OLD_NAME = re.compile(r"\{\{-?\s*\.OldName\s*-?\}\}")


@dataclass(frozen=True)
class Needs:
    """The fields of a kind beside `kind` and `tables`, and what the kind does."""

    meaning: str
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


KINDS: Mapping[Kind, Needs] = {
    "remove_columns": Needs(
        "Removes columns, or what a path names inside of a JSON column.", ("columns",)
    ),
    "rename_column": Needs("Column `name` is called `value` from here on.", ("name", "value")),
    "add_column": Needs(
        "Appends a text column `name` with `value` in every row.", ("name", "value")
    ),
    "add_current_timestamp_column": Needs(
        "Appends a column `name` with the time at which the load began, the same in every row of a load.",
        ("name",),
    ),
    "add_primary_keys": Needs("Adds columns to the primary key.", ("columns",)),
    "obfuscate_columns": Needs(
        "Replaces text, JSON and binary values by a marker with their SHA-256; a path names what is "
        "replaced inside of a JSON column.",
        ("columns",),
        ("include_sha",),
    ),
    "obfuscate_columns_except": Needs(
        "Keeps the columns and JSON paths of the list and everything called `_cq_…`; `unmatched` says "
        "what becomes of the rest.",
        ("columns",),
        ("include_sha", "unmatched"),
    ),
    "obfuscate_sensitive_columns": Needs(
        "`obfuscate_columns` for the columns that the source marks as sensitive.",
        (),
        ("include_sha",),
    ),
    "change_table_names": Needs(
        "Names tables by the template; `{{.OldName}}` is the name so far. Transformations after it "
        "match the new names.",
        ("new_table_name_template",),
    ),
    "uppercase": Needs(
        "Text in capitals; of a JSON column all texts in it, or what a path names.", ("columns",)
    ),
    "lowercase": Needs(
        "Text in small letters; of a JSON column all texts in it, or what a path names.",
        ("columns",),
    ),
    "drop_rows": Needs(
        "Leaves out rows in which one of the columns is `value`; without `value`, in which one is null.",
        ("columns",),
        ("value",),
    ),
}


class Transformation(Model):
    """One entry of `transformations`."""

    kind: Kind = Field(description="What is done")
    tables: tuple[str, ...] = Field(("*",), description="Names of tables; `*` is any characters")
    columns: tuple[str, ...] = Field((), description="Columns, or paths into JSON columns")
    name: str = Field("", description="A column")
    value: str | None = Field(None, description="A text")
    include_sha: bool = Field(
        True, description="Whether the marker of an obfuscated value has the value's SHA-256"
    )
    unmatched: Unmatched = Field(
        "drop",
        description="What is not on the list is left out (`drop`), replaced by one marker per column, "
        "object or list (`collapse`) or by one per value (`redact`)",
    )
    new_table_name_template: str = Field("", description="For example `cq_{{.OldName}}`")

    @model_validator(mode="after")
    def _fields_of_the_kind(self) -> Self:
        needs = KINDS[self.kind]
        given = self.model_fields_set - {"kind", "tables"}
        empty = {f for f in needs.required if getattr(self, f) in (None, "", ())}
        if empty:
            names = " and ".join(f"`{f}`" for f in needs.required if f in empty)
            raise ValueError(f"{self.kind} needs {names}")
        useless = sorted(given - {*needs.required, *needs.optional})
        if useless := [f for f in useless if getattr(self, f) not in (None, "", ())]:
            known = ", ".join(("tables", *needs.required, *needs.optional))
            raise ValueError(f"{self.kind} has no use for `{useless[0]}`; its fields are {known}")
        for column in self.columns:
            paths.split(column)
        left = OLD_NAME.sub("", self.new_table_name_template)
        if "{{" in left or "}}" in left:
            raise ValueError("`new_table_name_template` can hold {{.OldName}} and plain text only")
        return self


class Options(Model):
    """The nested `spec` of `cloudquery/basic`."""

    transformations: tuple[Transformation, ...] = Field(description="Applied one after the other")

    @field_validator("transformations")
    @classmethod
    def _some(cls, found: tuple[Transformation, ...]) -> tuple[Transformation, ...]:
        if not found:
            raise ValueError("must not be empty")
        return found
