"""Implicit solvent: generalised Born models of an open system [eV].

    E = -1/2 sum_ij (1 - exp(-kappa f) / dielectric) q_i q_j / f,   f^2 = r^2 + B_i B_j exp(-r^2 / 4 B_i B_j)

over all pairs, an atom with itself included [Still1990]. The Born radius B of an atom comes of an integral over the
other atoms as spheres [Hawkins1996], corrected as each model has it: hct not at all, obc1 and obc2 [Onufriev2004], gbn
with the necks between spheres [Mongan2007], gbn2 [Nguyen2013].
"""

from __future__ import annotations

import functools
import math
from pathlib import Path

import numpy
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from mindsci import units
from mindsci.errors import InputError
from mindsci.tree import Tree
from sponge.forcefield.options import Options
from sponge.neighbors import Neighbors, displacements
from sponge.system import System
from sponge.topology import GeneralisedBorn, Topology

NECK_CUTOFF = 6.8
"""gap between two spheres beyond which there is no neck [angstrom]"""
NECK_RADII = (1.0, 2.0)
"""of the tables, 21 radii each [angstrom]"""
PROBE = 1.4
"""radius of a water [angstrom]"""
DEBYE_SCALE = 0.73
"""by which Amber's models shorten kappa, for the ions are not points [Srinivasan1999]"""
TEMPERATURE = 298.15
"""of the salt [K]"""
NUCLEIC = ("A", "C", "G", "U", "DA", "DC", "DG", "DT")


class Model(Tree):
    """The parameters of a model."""

    offset: float
    """by which radii are smaller in the integral [angstrom]"""
    correction: tuple[float, float, float] | None = None
    """alpha, beta, gamma of tanh(alpha psi - beta psi^2 + gamma psi^3); None leaves the integral as it is"""
    neck: float = 0.0
    """by which necks count"""
    screening: dict[int, float] | None = None
    """of each element, 0 for those that are not named; None takes the topology's"""
    of_elements: dict[int, tuple[float, float, float]] | None = None
    """the correction of each element that has its own"""


MODELS = {
    "hct": Model(offset=0.09),
    "obc1": Model(offset=0.09, correction=(0.8, 0.0, 2.909125)),
    "obc2": Model(offset=0.09, correction=(1.0, 0.8, 4.85)),
    "gbn": Model(
        offset=0.09,
        correction=(1.09511284, 1.90792938, 2.50798245),
        neck=0.361825,
        screening={
            0: 0.5,
            1: 1.09085413633,
            6: 0.48435382330,
            7: 0.700147318409,
            8: 1.06557401132,
            16: 0.602256336067,
        },
    ),
    "gbn2": Model(
        offset=0.195141,
        correction=(1.0, 0.8, 4.851),
        neck=0.826836,
        screening={0: 0.5, 1: 1.425952, 6: 1.058554, 7: 0.733599, 8: 1.061039, 16: -0.703469},
        of_elements={
            1: (0.788440, 0.798699, 0.437334),
            6: (0.733756, 0.506378, 0.205844),
            7: (0.503364, 0.316828, 0.192915),
            8: (0.867814, 0.876635, 0.387882),
            16: (0.867814, 0.876635, 0.387882),
        },
    ),
}
GBN2_NUCLEIC = Model(
    offset=0.195141,
    correction=(1.0, 0.8, 4.851),
    neck=0.826836,
    screening={0: 0.5, 1: 1.696538, 6: 1.268902, 7: 1.4259728, 8: 0.1840098, 15: 1.5450597, 16: 0.05},
    of_elements={
        1: (0.537050, 0.362861, 0.116704),
        6: (0.331670, 0.196842, 0.093422),
        7: (0.686311, 0.463189, 0.138722),
        8: (0.606344, 0.463006, 0.142262),
        15: (0.418365, 0.290054, 0.1064245),
        16: (0.606344, 0.463006, 0.142262),
    },
)
"""of the atoms of nucleic acids"""


def check(topology: Topology, options: Options) -> None:
    """Raises InputError where a topology has no radii, or ones that the tables of necks do not reach."""
    born = topology.generalised_born
    if born is None or topology.nonbonded is None:
        raise InputError(
            f'implicit_solvent = "{options.implicit_solvent}" needs Born radii and charges, which the topology has '
            "not; see `sponge.builders.with_born_radii`"
        )
    low, high = NECK_RADII
    beyond = ((born.radius < low) | (born.radius > high)).nonzero().flatten()
    if MODELS[str(options.implicit_solvent)].neck and len(beyond):
        atom = int(beyond[0])
        raise InputError(
            f"{topology.name_atom(atom)} has a Born radius of {float(born.radius[atom]):g} angstrom; "
            f'"{options.implicit_solvent}" knows necks of radii from {low:g} to {high:g}'
        )


def is_nucleic(topology: Topology) -> Bool[Tensor, " atoms"]:
    """Returns which atoms are of nucleic acids, by the names of their residues."""
    if topology.residue_of_atom is None:
        return torch.zeros(topology.n_atoms, dtype=torch.bool)
    named = torch.tensor([residue.name.rstrip("35") in NUCLEIC for residue in topology.residues])
    return named[topology.residue_of_atom.cpu()]


def debye(options: Options) -> float:
    """Returns kappa of the salt, as Amber's models scale it [1/angstrom]."""
    # Pairs of ions of one charge, mol/l into 1/angstrom^3; 8 pi l n with Bjerrum's length l.
    density = options.salt * units.AVOGADRO * 1e-27
    length = units.COULOMB_EV_ANGSTROM / (options.solvent_dielectric * units.BOLTZMANN_EV * TEMPERATURE)
    return DEBYE_SCALE * math.sqrt(8.0 * math.pi * length * density)


def energies(
    system: System,
    neighbors: Neighbors,
    charges: Float[Tensor, " atoms"],
    born: GeneralisedBorn,
    nucleic: Bool[Tensor, " atoms"],
    options: Options,
) -> dict[str, Float[Tensor, " atoms"]]:
    """Returns, of each atom, its energy with the solvent, half of each pair's, and of its surface where one is asked.

    neighbors: all pairs of the system, each once or twice; those that have no other nonbonded interaction too.
    """
    centre, neighbor = neighbors.centre, neighbors.neighbor
    r = torch.linalg.vector_norm(displacements(system, neighbors), dim=-1)
    if not neighbors.half:
        once = (centre < neighbor).nonzero().flatten()
        centre, neighbor, r = centre[once], neighbor[once], r[once]
    radius = born_radii(system, (centre, neighbor, r), born, nucleic, str(options.implicit_solvent))
    kappa, constant = debye(options), options.coulomb_constant

    def screened(distance: Tensor) -> Tensor:
        return constant * (1.0 - torch.exp(-kappa * distance) / options.solvent_dielectric) / distance

    product = radius[centre] * radius[neighbor]
    effective = torch.sqrt(r * r + product * torch.exp(-r * r / (4.0 * product)))
    pair = 0.5 * charges[centre] * charges[neighbor] * screened(effective)
    alone = -0.5 * charges**2 * screened(radius)
    found = {"generalised_born": alone.index_add(0, centre, -pair).index_add(0, neighbor, -pair)}
    if options.surface_tension != 0.0:
        size = born.radius.to(radius.dtype)
        # Of a sphere that is all but covered, the Born radius is large [Schaefer1998].
        area = 4.0 * math.pi * (size + PROBE) ** 2 * (size / radius) ** 6
        found["nonpolar"] = options.surface_tension * area
    return found


def born_radii(
    system: System,
    pairs: tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"], Float[Tensor, " pairs"]],
    born: GeneralisedBorn,
    nucleic: Bool[Tensor, " atoms"],
    name: str,
) -> Float[Tensor, " atoms"]:
    """Returns the Born radius of each atom [angstrom]; pairs: each once, with its distance."""
    model = MODELS[name]
    other = GBN2_NUCLEIC if name == "gbn2" else model
    dtype = system.positions.dtype
    size = born.radius.to(dtype)
    inner = size - model.offset
    screening = born.screening.to(dtype)
    if model.screening is not None:
        own, theirs = (_of_elements(one.screening or {}, system) for one in (model, other))
        screening = torch.where(nucleic, theirs, own)
    scaled = screening * inner
    centre, neighbor, r = pairs
    total = torch.zeros_like(size)
    for i, j in ((centre, neighbor), (neighbor, centre)):
        part = _integral(r, inner[i], scaled[j])
        if model.neck:
            part = part + model.neck * _neck(r, size[j], size[i])
        total = total.index_add(0, i, part)
    if model.correction is None:
        return 1.0 / (1.0 / inner - total)
    alpha, beta, gamma = _corrections(system, model, other, nucleic)
    psi = total * inner
    return 1.0 / (1.0 / inner - torch.tanh(alpha * psi - beta * psi**2 + gamma * psi**3) / size)


def _integral(r: Tensor, inner: Tensor, scaled: Tensor) -> Float[Tensor, " pairs"]:
    """Of 1 / (4 pi r^4) over the sphere `scaled` of another atom, outside of the atom's own [Hawkins1996]."""
    upper = r + scaled
    distance = (r - scaled).abs()
    lower = torch.maximum(inner, distance)
    terms = 1.0 / lower - 1.0 / upper + 0.5 * torch.log(lower / upper) / r
    terms = terms + 0.25 * (r - scaled**2 / r) * (1.0 / upper**2 - 1.0 / lower**2)
    # The atom lies within the other's sphere.
    terms = terms + torch.where(inner < scaled - r, 2.0 * (1.0 / inner - 1.0 / lower), 0.0)
    return torch.where(upper > inner, 0.5 * terms, 0.0)


def _neck(r: Tensor, one: Tensor, other: Tensor) -> Float[Tensor, " pairs"]:
    """The space between two spheres that no water enters [Mongan2007, eq. 8]."""
    distances, depths = (torch.from_numpy(table).to(r) for table in neck_tables())
    place = [_place(size) for size in (one, other)]
    away = r - _interpolated(distances, place)
    neck = _interpolated(depths, place) / (1.0 + away**2 + 0.3 * away**6)
    return torch.where(r < one + other + NECK_CUTOFF, neck, 0.0)


def _place(size: Tensor) -> tuple[Int[Tensor, " pairs"], Float[Tensor, " pairs"]]:
    step = (NECK_RADII[1] - NECK_RADII[0]) / 20.0
    place = (size - NECK_RADII[0]) / step
    low = place.detach().floor().clamp(0, 19)
    return low.to(torch.int64), place - low


def _interpolated(table: Tensor, place: list[tuple[Tensor, Tensor]]) -> Float[Tensor, " pairs"]:
    (i, x), (j, y) = place
    low = table[i, j] * (1.0 - y) + table[i, j + 1] * y
    return low * (1.0 - x) + (table[i + 1, j] * (1.0 - y) + table[i + 1, j + 1] * y) * x


@functools.cache
def neck_tables() -> tuple[NDArray[numpy.float64], NDArray[numpy.float64]]:
    """Returns where the neck's integral is largest [angstrom] and how large [1/angstrom], over both radii."""
    here = Path(__file__).parent
    return tuple(numpy.loadtxt(here / f"{name}.csv", delimiter=",") for name in ("neck_distances", "neck_depths"))  # type: ignore[return-value]


def _of_elements(values: dict[int, float], system: System) -> Float[Tensor, " atoms"]:
    table = torch.full((120,), values.get(0, 0.0), dtype=system.positions.dtype)
    for number, value in values.items():
        table[number] = value
    return table.to(system.positions.device)[system.atomic_numbers]


def _corrections(system: System, model: Model, other: Model, nucleic: Tensor) -> list[Tensor]:
    assert model.correction is not None
    found = []
    for place, common in enumerate(model.correction):
        own, theirs = (
            _of_elements(
                {0: common} | {number: values[place] for number, values in (one.of_elements or {}).items()}, system
            )
            for one in (model, other)
        )
        found.append(torch.where(nucleic, theirs, own))
    return found
