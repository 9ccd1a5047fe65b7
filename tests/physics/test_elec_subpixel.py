"""Effective materials at interfaces: the diagonal of the tensor, exact for planes, and what it does for a slab.

Along an interface the mean of permittivity, across it the inverse of the mean inverse; at a slant 1/eps_e is
n_e^2 <1/eps> + (1 - n_e^2) / <eps> [Mohammadi2005]. A large sphere stands for a plane of any slant; the normal is found
from sums over half boxes, exact for planes up to how these halves are cut: 2 % of the range of the answer.
"""

from __future__ import annotations

import math

import pytest
import torch

from elec.geometry import Scene, box, sphere
from elec.geometry.scene import Body
from elec.grid import Grid
from elec.materials import Material
from elec.validation.slabs import slab_powers, slab_reflection

EPS = 6.0
MATERIALS = {
    "filling": Material(name="filling", relative_permittivity=EPS, relative_permeability=3.0, conductivity=0.2)
}


def even(cells: int = 6) -> Grid:
    line = torch.arange(cells + 1, dtype=torch.float64)
    return Grid(x=line, y=line, z=line)


def scene(solid: object) -> Scene:
    return Scene(parts=(Body(name="body", solid=solid, material="filling"),), materials=MATERIALS)


def test_a_plane_between_nodes_gives_means_along_it_and_means_of_the_inverse_across_it() -> None:
    found = scene(box((-9, -9, -9), (3.3, 9, 9))).edge_materials(even()).relative_permittivity
    # Ex of cell 3 holds the box from 3 to 4, Ey at node 3 that from 2.5 to 3.5.
    share_x, share_y = 0.3, 0.8
    assert float(found[0][3, 3, 3]) == pytest.approx(1.0 / (share_x / EPS + 1.0 - share_x), rel=1e-3)
    assert float(found[1][3, 3, 3]) == pytest.approx(share_y * EPS + 1.0 - share_y, rel=1e-3)
    assert float(found[0][1, 3, 3]) == pytest.approx(EPS)
    assert float(found[1][5, 3, 3]) == pytest.approx(1.0)


def test_permeability_of_faces_is_the_dual_of_permittivity_of_edges() -> None:
    found = scene(box((-9, -9, -9), (3.3, 9, 9))).face_materials(even()).relative_permeability
    assert float(found[0][3, 3, 3]) == pytest.approx(1.0 / (0.8 / 3.0 + 0.2), rel=1e-3)
    assert float(found[1][3, 3, 3]) == pytest.approx(0.3 * 3.0 + 0.7, rel=1e-3)


def test_conductivity_along_an_interface_is_the_mean() -> None:
    found = scene(box((-9, -9, -9), (3.3, 9, 9))).edge_materials(even()).conductivity
    assert float(found[1][3, 3, 3]) == pytest.approx(0.8 * 0.2, rel=1e-3)


@pytest.mark.parametrize("normal", [(0.6, 0.8, 0.0), (0.36, 0.48, 0.8), (1 / math.sqrt(3),) * 3])
def test_a_slanted_plane_through_the_middle_of_a_box_gives_the_diagonal_of_the_tensor(normal: tuple) -> None:
    """The plane through the middle of Ex at (3.5, 3, 3): half of the box is filled, whatever the slant."""
    n, radius = torch.tensor(normal, dtype=torch.float64), 1e5
    center = torch.tensor([3.5, 3.0, 3.0], dtype=torch.float64) - radius * n
    found = float(scene(sphere(center, radius)).edge_materials(even()).relative_permittivity[0][3, 3, 3])
    across, along = 0.5 / EPS + 0.5, 1.0 / (0.5 * EPS + 0.5)
    expected = 1.0 / (normal[0] ** 2 * across + (1.0 - normal[0] ** 2) * along)
    assert found == pytest.approx(expected, abs=0.02 * (EPS - 1.0))


def test_metal_counts_in_no_mean() -> None:
    parts = (
        Body(name="body", solid=box((-9, -9, -9), (9, 9, 9)), material="filling"),
        Body(name="metal", solid=box((3.3, -9, -9), (9, 9, 9))),
    )
    found = Scene(parts=parts, materials=MATERIALS).edge_materials(even()).relative_permittivity
    assert float(found[0][3, 3, 3]) == pytest.approx(EPS)
    assert float(found[1][3, 3, 3]) == pytest.approx(EPS)


@pytest.mark.slow
def test_a_slab_off_the_grid_reflects_at_second_order() -> None:
    frequencies = torch.tensor([5e9, 7.5e9, 10e9], dtype=torch.float64)
    exact = slab_reflection(frequencies)
    errors = [float((slab_powers(cells, frequencies, shift=0.37)[1] - exact).abs().max()) for cells in (10, 20)]
    assert math.log2(errors[0] / errors[1]) > 1.9
