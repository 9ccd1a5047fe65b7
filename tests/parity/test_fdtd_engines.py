"""The compiled step against the reference flows, on a problem that uses everything at once.

float64: both sum the same few terms in another order, 1e-12 of the largest value after 80 steps. float32: rounding of
6e-8 a step, grown by 80 steps of random walk, 1e-5 of the largest value.
"""

from __future__ import annotations

import pytest
import torch
from fdtd_problems import PULSE, everything, owned, random_values, slanted, uneven_grid
from torch import Tensor

from elec.fdtd import Walls, absorbing_layers, cpu, dipole, point_probe, uniform_media, yee_step
from elec.fdtd.rows import distinct_rows
from elec.fields import Fields
from mindsci import tree
from mindsci.solvers import rollout

# Each shape has its longest side along another axis, which the kernel makes its rows.
SHAPES = [(24, 20, 26), (30, 20, 17), (18, 29, 22)]


def assert_same(found: Fields, expected: Fields, tolerance: float) -> None:
    for (name, a), (_, b) in zip(tree.named_leaves(found), tree.named_leaves(expected), strict=True):
        assert a.shape == b.shape, name
        if a.numel():
            assert float((a - b).abs().max()) <= tolerance * float(b.abs().max()), name


def same_bits(first: Fields, second: Fields) -> bool:
    return all(torch.equal(a, b) for a, b in zip(tree.leaves(first), tree.leaves(second), strict=True))


@pytest.mark.parametrize("nodes", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_the_compiled_step_gives_the_numbers_of_the_reference(
    nodes: tuple[int, int, int], dtype: torch.dtype, tolerance: float
) -> None:
    grid, reference = everything(nodes, dtype=dtype)
    _, compiled = everything(nodes, dtype=dtype, engine="numba")
    dt = 0.9 * grid.courant_limit()
    start = reference.start(80)
    expected = reference.advance(start, 0.0, dt, 80)
    assert min(float(leaf.abs().max()) for leaf in tree.leaves(expected)) > 0
    assert_same(compiled.advance(start, 0.0, dt, 80), expected, tolerance)


SIDES = {"pec": ("pec", "pec"), "pmc": ("pmc", "pec"), "periodic": ("periodic", "periodic")}


@pytest.mark.parametrize("x", SIDES)
@pytest.mark.parametrize("y", SIDES)
@pytest.mark.parametrize("z", SIDES)
def test_every_combination_of_walls_agrees(x: str, y: str, z: str) -> None:
    walls = Walls(x=SIDES[x], y=SIDES[y], z=SIDES[z])  # type: ignore[arg-type]
    grid, reference = everything((18, 17, 16), walls=walls)
    _, compiled = everything((18, 17, 16), walls=walls, engine="numba")
    dt = 0.9 * grid.courant_limit()
    start = reference.start(30)
    found = compiled.advance(compiled.advance(start, 0.0, dt, 11), 11 * dt, dt, 19)
    assert_same(owned(found, walls), owned(reference.advance(start, 0.0, dt, 30), walls), 1e-12)


@pytest.mark.parametrize("x", SIDES)
@pytest.mark.parametrize("z", SIDES)
def test_edges_that_act_on_one_another_agree(x: str, z: str) -> None:
    walls = Walls(x=SIDES[x], z=SIDES[z])  # type: ignore[arg-type]
    grid, reference = slanted(walls=walls)
    _, compiled = slanted(walls=walls, engine="numba")
    assert reference.ampere.media.coupling is not None
    dt = 0.9 * grid.courant_limit()
    start = reference.start(40)
    found = compiled.advance(compiled.advance(start, 0.0, dt, 17), 17 * dt, dt, 23)
    assert_same(owned(found, walls), owned(reference.advance(start, 0.0, dt, 40), walls), 1e-12)


def test_without_layers_sources_or_probes_the_engines_agree() -> None:
    grid = uneven_grid((12, 11, 13))
    media = uniform_media(grid, permittivity=1.0 + random_values((12, 11, 13), 5))
    reference, compiled = (yee_step(grid, media, engine=engine) for engine in ("reference", "numba"))
    dt = 0.9 * grid.courant_limit()
    inside = ~media.metal
    start = tree.replace(reference.start(), electric=random_values((12, 11, 13), 6) * inside)
    assert_same(compiled.advance(start, 0.0, dt, 50), reference.advance(start, 0.0, dt, 50), 1e-12)


def test_threads_and_depth_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    grid, step = everything(dtype=torch.float32, engine="numba")
    dt = 0.9 * grid.courant_limit()
    start = step.start(60)
    threads = torch.get_num_threads()
    found = []
    try:
        for count, depth in ((1, 1), (1, 4), (2, 1), (2, 4), (3, 3)):
            torch.set_num_threads(count)
            monkeypatch.setattr(cpu, "CELLS_PER_THREAD", 100)
            monkeypatch.setattr(cpu, "DEPTH", depth)
            found.append(step.advance(start, 0.0, dt, 60))
    finally:
        torch.set_num_threads(threads)
    assert all(same_bits(one, found[0]) for one in found)


def test_a_run_in_pieces_has_the_bits_of_a_whole_one() -> None:
    grid, step = everything(dtype=torch.float32, engine="numba")
    dt = 0.9 * grid.courant_limit()
    whole, _ = rollout(step, step.start(70), n_steps=70, dt=dt)
    pieces = step.start(70)
    for start, count in ((0, 13), (13, 1), (14, 56)):
        pieces, _ = rollout(step, pieces, n_steps=count, dt=dt, start=start)
    assert same_bits(whole, pieces)


def test_the_caller_keeps_its_fields() -> None:
    grid, step = everything(engine="numba")
    dt = 0.9 * grid.courant_limit()
    start = step.advance(step.start(40), 0.0, dt, 20)
    before = tree.map(Tensor.clone, start)
    step.advance(start, 20 * dt, dt, 20)
    assert same_bits(before, start)


def test_equal_rows_are_stored_once() -> None:
    values = torch.ones(3, 6, 5, 8)
    values[1, 2, 3, 4] = 2.0
    flags = torch.zeros(3, 6, 5, 8, dtype=torch.bool)
    flags[:, 0] = True
    rows = distinct_rows(values, flags)
    assert len(rows.tables[0]) == 3
    rebuilt = torch.from_numpy(rows.tables[0][rows.index])
    assert torch.equal(rebuilt, values)
    assert torch.equal(torch.from_numpy(rows.tables[1][rows.index]), flags)


def test_a_failure_in_one_thread_stops_the_others_and_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(planes: tuple[int, int], *_: object) -> None:
        if planes[0] > 0:
            raise MemoryError("no room")

    monkeypatch.setattr(cpu.kernels, "sweep", broken)
    with pytest.raises(MemoryError, match="no room"):
        cpu._run_threads(8, 4, [0, 10, 20], [(), ()])


def test_rollout_takes_the_compiled_step_only_where_no_gradient_is_asked_for() -> None:
    grid = uneven_grid((10, 10, 10))
    permittivity = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    media = uniform_media(grid, permittivity=permittivity)
    options = {
        "absorber": absorbing_layers(grid, 2),
        "sources": [dipole(grid, 2, (5, 5, 5), PULSE)],
        "probes": [point_probe(2, (5, 7, 5))],
        "engine": "numba",
    }
    step = yee_step(grid, media, **options)
    dt = 0.9 * grid.courant_limit()
    with_graph, _ = rollout(step, step.start(30), n_steps=30, dt=dt)
    with torch.no_grad():
        without, _ = rollout(step, step.start(30), n_steps=30, dt=dt)
    assert with_graph.records.requires_grad and not without.records.requires_grad
    assert torch.allclose(with_graph.records.detach(), without.records, rtol=1e-10, atol=0)
