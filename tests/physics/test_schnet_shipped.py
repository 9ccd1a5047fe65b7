"""The SchNet that is shipped: NVE keeps its energy to second order, and its errors are those on its card.

The gates are those of `mindsci validate nve` and `mindsci validate potentials`, which say where they come from;
here with two short trajectories instead of four.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mindsci import hub, testing
from mindsci.report import Report
from sponge.builders import from_smiles
from sponge.dynamics import Forces, minimise
from sponge.potentials.loading import load_potential
from sponge.validate import ethanol, nve

NAME = "schnet_ethanol"


def show(report: Report) -> str:
    return "; ".join(f"{row.case} = {row.measured} ({row.gate})" for row in report.rows)


def test_energy_fluctuation_of_the_shipped_potential_is_second_order_in_dt() -> None:
    report = nve(trajectories=2, femtoseconds=60.0, picoseconds=4.0)
    assert report.ok, show(report)


def test_ethanol_at_its_minimum_has_the_geometry_of_density_functional_theory() -> None:
    """PBE bond lengths of ethanol: C-C 1.51 to 1.53, C-O 1.42 to 1.44, O-H 0.96 to 0.98 angstrom; 0.02 to spare."""
    potential = load_potential(pretrained=NAME, dtype=torch.float64)
    system = from_smiles("CCO")
    found = minimise(Forces.of(potential, system), system, max_force=1e-3).system
    distance = torch.cdist(found.positions, found.positions)
    hydroxyl = distance[2, 3:].min()
    for value, low, high in ((distance[0, 1], 1.49, 1.55), (distance[1, 2], 1.40, 1.46), (hydroxyl, 0.94, 1.00)):
        assert low < float(value) < high


def test_the_card_keeps_the_contract(repository: Path) -> None:
    testing.check_card(repository / "pretrained" / NAME)
    assert hub.find_card(hub.PretrainedCard, NAME).weights.bytes < 4e6


@pytest.mark.data
def test_errors_on_the_test_frames_are_those_of_the_card(data_mirror: Path) -> None:
    report = ethanol()
    assert report.ok, show(report)
    assert all(row.reference is not None for row in report.rows)
