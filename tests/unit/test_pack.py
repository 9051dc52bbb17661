"""Packing: every client exactly once, in shards of about the target, without walking over cells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharder.pack import (
    HUGE,
    MOST_CLIENTS,
    common,
    count,
    joined,
    pack,
    ranges_of,
    take,
    without,
)

RANGES = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 40)).map(lambda p: (p[0], p[0] + p[1])),
    max_size=8,
).map(joined)


def expanded(ranges):
    return [c for start, stop in ranges for c in range(start, stop)]


def whole_cut(client, n):
    return [{"client": client, "n": i} for i in range(n)]


@given(
    clients=RANGES,
    mean_s=st.floats(0.001, 200),
    target_s=st.floats(0.1, 300),
    known=st.dictionaries(st.integers(0, 450), st.floats(0.001, 2000), max_size=20),
    cut=st.sampled_from([None, whole_cut, lambda client, n: [], lambda client, n: [{}]]),
)
def test_every_client_is_in_exactly_one_shard_or_in_all_slices_of_one_cell(
    clients, mean_s, target_s, known, cut
):
    packed = pack(clients, mean_s=mean_s, known_s=known, target_s=target_s, cut=cut)
    pieces = list(packed)
    assert len(pieces) == packed.shards
    assert all(p.clients and count(p.clients) for p in pieces)
    whole = [c for p in pieces if not p.slice for c in expanded(p.clients)]
    sliced = {p.clients[0][0] for p in pieces if p.slice}
    assert sorted([*whole, *sliced]) == expanded(clients)
    for client in sliced:
        own = [p for p in pieces if p.slice and p.clients == ((client, client + 1),)]
        assert [p.slice.n for p in own] == list(range(own[0].slice.of))
        assert len(own) >= 2


@given(
    clients=RANGES,
    mean_s=st.floats(0.001, 200),
    target_s=st.floats(0.1, 300),
    known=st.dictionaries(st.integers(0, 450), st.floats(0.001, 2000), max_size=20),
)
def test_no_shard_is_longer_than_the_target_or_than_its_only_client(
    clients, mean_s, target_s, known
):
    packed = pack(clients, mean_s=mean_s, known_s=known, target_s=target_s)
    for piece in packed:
        # Clients are not divided, so that a shard may exceed the target by less than one of them.
        assert piece.cost_s <= target_s + mean_s or count(piece.clients) == 1
    assert packed.cost_s == pytest.approx(sum(p.cost_s for p in packed), abs=1e-6)
    assert packed.heaviest_s == pytest.approx(max((p.cost_s for p in packed), default=0), rel=1e-6)


def test_a_slow_client_gets_a_shard_of_its_own_and_comes_first():
    pieces = list(pack([(0, 1000)], mean_s=0.1, known_s={500: 90.0, 7: 70.0}, target_s=60))
    assert [p.clients for p in pieces[:2]] == [((500, 501),), ((7, 8),)]
    assert sum(count(p.clients) for p in pieces[2:]) == 998


def test_clients_that_are_known_to_be_quick_share_a_shard():
    pieces = list(pack([(0, 10)], mean_s=1, known_s={2: 5.0, 3: 5.0, 9: 5.0}, target_s=60))
    assert [p.clients for p in pieces] == [((2, 4), (9, 10)), ((0, 2), (4, 9))]


def test_a_huge_cell_is_cut_into_slices_of_about_the_target():
    asked = []

    def cut(client, n):
        asked.append((client, n))
        return whole_cut(client, n)

    pieces = list(pack([(0, 3)], mean_s=1, known_s={0: 100.0, 1: 600.0}, target_s=60, cut=cut))
    assert asked == [(1, 10)]  # 100 s is less than HUGE x 60 s: slow, not huge
    assert HUGE * 60 > 100
    assert [p.slice.bounds["n"] for p in pieces if p.slice] == list(range(10))
    assert all(p.cost_s == 60 for p in pieces if p.slice)


def test_a_cell_that_its_source_cannot_cut_stays_whole():
    pieces = list(pack([(0, 1)], mean_s=1, known_s={0: 900.0}, target_s=60, cut=lambda c, n: []))
    assert [(p.clients, p.slice) for p in pieces] == [(((0, 1),), None)]


def test_a_shard_has_a_bounded_number_of_clients_however_quick_they_are():
    packed = pack([(0, 1_000_000)], mean_s=0.0001, known_s={}, target_s=3600)
    assert packed.shards == 1_000_000 // MOST_CLIENTS
    assert max(count(p.clients) for p in packed) == MOST_CLIENTS


def test_small_ranges_share_a_shard():
    ranges = [(i * 10, i * 10 + 1) for i in range(50)]
    assert [p.clients for p in pack(ranges, mean_s=1, known_s={}, target_s=60)] == [tuple(ranges)]


def test_no_clients_make_no_shards():
    packed = pack([], mean_s=1, known_s={3: 4.0}, target_s=60)
    assert (list(packed), packed.shards, packed.cost_s, packed.heaviest_s) == ([], 0, 0, 0)


@given(left=RANGES, right=RANGES)
def test_common_holds_what_both_hold(left, right):
    both = common(left, right)
    assert expanded(both) == sorted({*expanded(left)} & {*expanded(right)})
    assert joined(both) == both


@given(ranges=RANGES, data=st.data())
def test_without_takes_out_exactly_those_clients(ranges, data):
    clients = expanded(ranges)
    out = sorted(data.draw(st.sets(st.sampled_from(clients)))) if clients else []
    assert expanded(without(ranges, out)) == sorted({*clients} - {*out})


@given(clients=st.sets(st.integers(0, 60)))
def test_ranges_of_clients_hold_exactly_them(clients):
    assert expanded(ranges_of(sorted(clients))) == sorted(clients)


@given(ranges=RANGES, sizes=st.lists(st.integers(1, 30), max_size=10))
def test_take_yields_consecutive_pieces(ranges, sizes):
    total = count(ranges)
    fitting = []
    for size in sizes:
        if sum(fitting) + size <= total:
            fitting.append(size)
    pieces = list(take(ranges, fitting))
    assert [count(p) for p in pieces] == fitting
    assert [c for p in pieces for c in expanded(p)] == expanded(ranges)[: sum(fitting)]
