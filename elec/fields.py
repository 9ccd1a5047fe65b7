"""The state of an FDTD run: everything that changes from step to step, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci.tree import Tree


class Fields(Tree):
    """Electromagnetic fields on a Yee grid [Yee1966], with what absorbing layers, probes and monitors remember.

    At time t the electric field belongs to t and the magnetic field to t - dt/2. Every component has the shape of the
    nodes, so that one index serves all of them: Ex[i, j, k] lies at (x[i] + x[i+1])/2, y[j], z[k], and entries with no
    edge or face behind them stay zero.

    memory holds, for each axis, the recursive sums of the absorbing layers in the cells of those layers only, low side
    then high side along that axis: two for Ampere's law, then two for Faraday's. polarization holds the currents of
    the media's poles, real then imaginary part, and magnetization those of its magnetic poles. records holds one
    sample a step of each probe. spectra holds running Fourier sums, cosine then minus sine.

    Bloch-periodic walls make the fields complex.
    """

    electric: Float[Tensor, "3 nodes_x nodes_y nodes_z"]
    """[V/m]"""
    magnetic: Float[Tensor, "3 nodes_x nodes_y nodes_z"]
    """[A/m]"""
    memory: tuple[Tensor, ...]
    polarization: Float[Tensor, "2 terms"]
    """[A/m^2]"""
    magnetization: Float[Tensor, "2 magnetic_terms"]
    """[V/m^2]"""
    records: Float[Tensor, "probes samples"]
    spectra: Float[Tensor, "2 frequencies points"]

    @property
    def nodes(self) -> tuple[int, int, int]:
        """Nodes along x, y and z."""
        _, x, y, z = self.electric.shape
        return (x, y, z)


def zero_fields(
    nodes: Sequence[int],
    *,
    layers: Sequence[Sequence[int]] = ((0, 0), (0, 0), (0, 0)),
    n_terms: int = 0,
    n_magnetic_terms: int = 0,
    n_probes: int = 0,
    n_samples: int = 0,
    n_frequencies: int = 0,
    n_points: int = 0,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Fields:
    """Returns fields at rest. `layers` counts absorbing cells, low and high side of each axis."""
    options = {"dtype": dtype, "device": device}
    memory = []
    for axis in range(3):
        shape = list(nodes)
        shape[axis] = sum(layers[axis])
        memory.append(torch.zeros(4, *shape, **options))
    return Fields(
        electric=torch.zeros(3, *nodes, **options),
        magnetic=torch.zeros(3, *nodes, **options),
        memory=tuple(memory),
        polarization=torch.zeros(2, n_terms, **options),
        magnetization=torch.zeros(2, n_magnetic_terms, **options),
        records=torch.zeros(n_probes, n_samples, **options),
        spectra=torch.zeros(2, n_frequencies, n_points, **options),
    )
