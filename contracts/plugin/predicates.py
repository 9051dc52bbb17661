"""`delete_record`: which rows are gone, in the protocol's messages ↔ in ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pyarrow as pa
from cloudquery.plugin_v3 import plugin_pb2 as pb

from contracts.plugin import ipc
from contracts.plugin.arrow import ours, wire_field
from contracts.plugin.errors import Malformed
from contracts.plugin.messages import Group, Predicate, Relation
from contracts.plugin.recast import recast


def groups_of(where: Sequence[Any]) -> tuple[Group, ...]:
    """Raises Malformed for an operator or a grouping that this release does not know: it must not guess."""
    return tuple(
        Group(_grouping(g.grouping_type), tuple(_predicate(p) for p in g.predicates)) for g in where
    )


def relations_of(relations: Sequence[Any]) -> tuple[Relation, ...]:
    return tuple(Relation(r.table_name, r.parent_table) for r in relations)


def groups_to(where: Sequence[Group]) -> list[Any]:
    return [
        pb.PredicatesGroup(
            grouping_type=g.grouping.upper(),
            predicates=[
                pb.Predicate(operator="EQ", column=p.column, record=ipc.batch_bytes(_record(p)))
                for p in g.predicates
            ],
        )
        for g in where
    ]


def relations_to(relations: Sequence[Relation]) -> list[Any]:
    return [pb.TableRelation(table_name=r.table, parent_table=r.parent) for r in relations]


def _grouping(number: int) -> Literal["and", "or"]:
    if number == pb.PredicatesGroup.AND:
        return "and"
    if number == pb.PredicatesGroup.OR:
        return "or"
    raise Malformed(f"delete_record groups its predicates in an unknown way ({number})")


def _predicate(message: Any) -> Predicate:
    if message.operator != pb.Predicate.EQ:
        raise Malformed(f"delete_record compares with an unknown operator ({message.operator})")
    batch = ipc.read_batch(message.record)
    if batch.num_columns != 1 or batch.num_rows != 1:
        raise Malformed(
            f"delete_record compares column '{message.column}' with"
            f" {batch.num_rows} rows of {batch.num_columns} columns instead of one value"
        )
    return Predicate(message.column, recast(batch.column(0), ours(batch.schema.field(0))))


def _record(predicate: Predicate) -> pa.RecordBatch:
    field = wire_field(pa.field(predicate.column, predicate.value.type))
    return pa.RecordBatch.from_arrays(
        [recast(predicate.value, field.type)], schema=pa.schema([field])
    )
