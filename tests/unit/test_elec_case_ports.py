"""Cases with several ports, shapes, boundaries and a far field: what they write, and that a stopped one continues."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elec.case import AntennaCase, prepare
from elec.fdtd import step as step_module
from mindsci import runs
from mindsci.config import load_case, validate
from mindsci.errors import InputError

EXAMPLES = Path(__file__).resolve().parents[2] / "docs/examples"
TWO_PORTS = [
    "grid.cells_across=2",
    "grid.cells_at_rim=1",
    "grid.absorber_cells=4",
    'grid.extent={x="-3, 3 mm", y="-1, 13 mm", z="0, 1 mm"}',
    'ports=[{start="-2, 0, 0 mm", stop="-2, 0, 0.254 mm", direction="z"},'
    ' {start="2, 0, 0 mm", stop="2, 0, 0.254 mm", direction="z", resistance="75 ohm"}]',
    "frequencies.points=11",
    "time.n_steps=1200",
    "excitation.frequency_max=20 GHz",
    'far_field.frequencies=["4 GHz"]',
]


def two_ports(*overrides: str) -> AntennaCase:
    return load_case(EXAMPLES / "microstrip_notch.toml", [*TWO_PORTS, *overrides])  # type: ignore[return-value]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ports") / "whole"
    runs.execute(two_ports(), folder, quiet=True)
    return folder


def test_two_ports_give_a_reciprocal_network_pictures_and_a_pattern(finished: Path) -> None:
    import skrf

    network = skrf.Network(str(finished / "antenna.s2p"))
    assert network.nports == 2
    table = np.loadtxt(finished / "scattering.csv", delimiter=",", skiprows=1)
    assert table.shape == (11, 13)
    # One device seen from both ends; the run is cut off early, and single precision leaves as much.
    assert np.abs(network.s[:, 0, 1] - network.s[:, 1, 0]).max() < 0.02
    for picture in ("scattering.png", "smith.png", "mesh.png", "field_3.63_GHz_port_1.png", "pattern_4_GHz_port_2.png"):
        assert (finished / picture).read_bytes().startswith(b"\x89PNG")
    figures = json.loads((finished / "results.json").read_text())
    assert "directivity at 4 GHz of port 1 [dBi]" in figures
    assert len(figures["steps"]) == 2


@pytest.mark.parametrize("at", [3, 9])
def test_a_case_stopped_in_either_run_continues_to_the_same_bits(
    at: int, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance, calls = step_module.YeeStep.advance, []

    def interrupted(self: Any, *arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGINT)
        return advance(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(step_module.YeeStep, "advance", interrupted)
        with pytest.raises(runs.Interrupted):
            runs.execute(two_ports(), tmp_path / "stopped", quiet=True)
    runs.execute(two_ports(), tmp_path / "stopped", quiet=True, resume=True)
    for name in ("scattering.csv", "restart.safetensors", "fields_port_2.vtr"):
        assert (tmp_path / "stopped" / name).read_bytes() == (finished / name).read_bytes()


@pytest.mark.slow
def test_half_of_a_symmetric_antenna_gives_what_the_whole_gives() -> None:
    """The plane y = 0 of the patch is a magnetic wall. The lines of both meshes differ a little: 0.05 in S11."""
    from elec.case import solve

    coarse = [
        "frequencies.points=11",
        "time.n_steps=1500",
        "fields.frequencies=[]",
        "grid.cells_per_wavelength=10",
        "grid.cells_across=2",
        "grid.cells_at_rim=0.5",
        "grid.absorber_cells=5",
        "grid.margin=12 mm",
    ]
    example = EXAMPLES / "patch_antenna.toml"
    half = solve(load_case(example, [*coarse, 'grid.extent.y="0, 42 mm"']))  # type: ignore[arg-type]
    whole = [*coarse, 'grid.extent.y="-42, 42 mm"', 'boundaries.y="absorbing"']
    full = solve(load_case(example, whole))  # type: ignore[arg-type]
    assert half.model.grid.n_cells < 0.65 * full.model.grid.n_cells
    assert float((half.scattering.s - full.scattering.s).abs().max()) < 0.05


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ('boundaries={y=["periodic","absorbing"]}', "both sides must be 'periodic'"),
        ('ports=[{kind="microstip", start="0,0,0 mm", stop="0,1,1 mm", direction="+x"}]', "did you mean 'microstrip'"),
        ('ports=[{kind="microstrip", start="0,0,0 mm", stop="1,1,1 mm", direction="+x"}]', "give start and stop"),
        ('geometry.parts.2={name="x", file="x.stl", sheet={at="1 mm", low="0,0 mm", high="1,1 mm"}}', "give one of"),
        ('geometry.parts.2={sheet={at="1 mm", low="0,0 mm", high="1,1 mm"}}', "needs a name"),
        ('geometry.parts.2={name="x", sheet={at="1 mm", low="0,0 mm"}}', "give the one or the other"),
        ('grid={mode="auto"}', "give margin, or extent.x"),
        ('grid={mode="automatic", margin="1 mm"}', "mode of the grid"),
    ],
)  # fmt: skip
def test_tables_that_make_no_sense_are_refused_with_the_fix(override: str, words: str) -> None:
    with pytest.raises((InputError, LookupError), match=words):
        prepare(two_ports(override))


def test_shapes_are_cut_and_kept_as_the_table_says(tmp_path: Path) -> None:
    from elec.case.shapes import GeometryTable

    table = {
        "parts": [
            {
                "name": "ring",
                "material": "pec",
                "cylinder": {"start": "0, 0, 0 mm", "end": "0, 0, 2 mm", "radius": "2 mm"},
                "subtract": [{"sphere": {"center": "0, 0, 1 mm", "radius": "1 mm"}}],
                "intersect": [{"box": {"low": "0, -3, -1 mm", "high": "3, 3, 3 mm"}}],
            }
        ]
    }
    import torch

    made = validate(GeometryTable, table, folder=tmp_path, source="case.toml")
    solid = made.scene({}).parts[0].solid
    points = torch.tensor([[1.5e-3, 0, 1e-3], [0.5e-3, 0, 1e-3], [-1.5e-3, 0, 1e-3]], dtype=torch.float64)
    assert (solid.signed_distance(points) < 0).tolist() == [True, False, False]
