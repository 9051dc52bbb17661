"""Transformers that do not fit the planned tables are told at submit, with their place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from contracts.errors import InputError
from contracts.plan import Plan, PlannedDestination, PlannedSource, PlannedTable
from contracts.specfile import LoadedSpec, load
from sharder.shown import refuse_unfit
from tests.fakes.plans import AT
from tests.fakes.stage import table

SPEC = """kind: source
spec: {{name: s, path: cloudquery/test, tables: ["*"], destinations: [w, other]}}
---
kind: destination
spec:
  name: w
  path: cloudquery/duckdb
  write_mode: {mode}
  transformers: [b]
  spec: {{connection_string: w.duckdb}}
---
kind: destination
spec: {{name: other, path: cloudquery/duckdb, spec: {{connection_string: o.duckdb}}}}
---
kind: transformer
spec:
  name: b
  path: cloudquery/basic
  spec:
    transformations:
      - {transformation}
"""


def spec(place: Path, transformation: str, mode: str = "overwrite-delete-stale") -> LoadedSpec:
    file = place / "spec.yml"
    file.write_text(SPEC.format(transformation=transformation, mode=mode))
    return load([file], {}, AT)


def plan(*names: str) -> Plan:
    return Plan(
        run="r", round=1, created=AT, sync_time=AT, shards=0, cells=0,
        sources=(PlannedSource(name="s", path="p", spec=0, destinations=("w", "other"), clients=1),),
        destinations=tuple(PlannedDestination(name=n, path="p", spec=1) for n in ("w", "other")),
        tables=tuple(
            PlannedTable(
                source="s", name=name, tree=(table(name),), selected=(name,), first=0, shards=0,
                cells=0, clients=(), authoritative=True,
            )
            for name in names
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("transformation", "said"),
    [
        ("{kind: remove_columns, columns: [id]}", "key column 'id' of table 'a'"),
        ("{kind: remove_columns, columns: [_cq_sync_time]}", "column '_cq_sync_time'"),
        ("{kind: obfuscate_columns, columns: [id]}", "column 'id' of table 'a' is int64"),
        ("{kind: add_primary_keys, columns: [nope]}", "table 'a' has no column 'nope'"),
        (
            "{kind: change_table_names, new_table_name_template: A}",
            "tables 'a' and 'b' would both be called 'A'",
        ),
        (
            "{kind: change_table_names, tables: [a], new_table_name_template: B}",
            "would both be called 'b'",
        ),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(tmp_path, transformation, said):
    with pytest.raises(InputError) as caught:
        refuse_unfit(spec(tmp_path, transformation), plan("a", "b"))
    assert said in str(caught.value)
    assert "spec.yml:9" in str(caught.value)


def test_what_fits_is_passed_over(tmp_path):
    refuse_unfit(spec(tmp_path, "{kind: uppercase, columns: [v]}"), plan("a", "b"))
    refuse_unfit(spec(tmp_path, "{kind: remove_columns, columns: [id]}", "append"), plan("a"))


def test_a_variable_that_only_the_loader_has_is_left_to_it(tmp_path):
    unset = "{kind: change_table_names, new_table_name_template: '${PREFIX}'}"
    refuse_unfit(spec(tmp_path, unset), plan("a", "b"))


def test_an_incremental_table_is_refused_for_files_that_every_run_replaces(tmp_path: Path) -> None:
    fixed = "{path: out, format: csv, no_rotate: true, batch_size: 0, batch_size_bytes: 0}"
    text = SPEC.format(mode="append", transformation="{kind: uppercase, columns: [v]}")
    text = text.replace(
        "cloudquery/duckdb, spec: {connection_string: o.duckdb}", f"cloudquery/file, spec: {fixed}"
    )
    (tmp_path / "spec.yml").write_text(text)
    loaded = load([tmp_path / "spec.yml"], {}, AT)
    whole = plan("one")
    (one,) = whole.tables
    tree = (replace(one.tree[0], incremental=True),)
    held = whole.destinations[1].model_copy(update={"holds_state_of": ("s",)})
    incremental = whole.model_copy(
        update={
            "tables": (one.model_copy(update={"tree": tree}),),
            "destinations": (whole.destinations[0], held),
        }
    )
    refuse_unfit(loaded, whole)
    with pytest.raises(InputError, match="'one' is incremental") as refused:
        refuse_unfit(loaded, incremental)
    assert "spec.yml:" in str(refused.value)
