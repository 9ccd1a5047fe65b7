"""The antenna case: what it writes, that a stopped run continues to the same bits, that bad input is named."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elec.case import AntennaCase, prepare
from elec.fdtd import step as step_module
from mindsci import runs
from mindsci.config import load_case

EXAMPLE = Path(__file__).resolve().parents[2] / "docs/examples/inverted_f_antenna.toml"
COARSE = [
    'grid.cell=["2.4 mm", "2.4 mm", "0.4 mm"]',
    "grid.margin=5 mm",
    "grid.absorber_cells=5",
    "grid.air_cell=3 mm",
    "frequencies.points=96",
    "time.n_steps=900",
    'fields.frequencies=["2.4 GHz"]',
    "precision=float64",
]


def coarse(*overrides: str) -> AntennaCase:
    return load_case(EXAMPLE, [*COARSE, *overrides])  # type: ignore[return-value]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("antenna") / "whole"
    runs.execute(coarse(), folder, quiet=True)
    return folder


def test_a_run_writes_network_pictures_and_volumes_that_others_read(finished: Path) -> None:
    import h5py
    import meshio
    import skrf

    network = skrf.Network(str(finished / "antenna.s1p"))
    table = np.loadtxt(finished / "s11.csv", delimiter=",", skiprows=1)
    assert network.f == pytest.approx(table[:, 0])
    assert network.s[:, 0, 0].real == pytest.approx(table[:, 1], abs=1e-8)
    assert network.z0[0, 0] == 50.0
    for picture in ("s11.png", "field_2.4_GHz.png"):
        assert (finished / picture).read_bytes().startswith(b"\x89PNG")
    assert len(meshio.read(finished / "geometry.vtu").points) > 8
    assert b"relative_permittivity" in (finished / "materials.vtr").read_bytes()[:4000]
    assert b"electric_2.4_GHz_real" in (finished / "fields.vtr").read_bytes()[:4000]
    with h5py.File(finished / "port.h5") as stored:
        assert stored["time"].attrs["unit"] == "s"
        # Thevenin source: what does not fall across the port falls across the resistor.
        drop = stored["source_voltage"][:] - stored["voltage"][:]
        assert stored["current"][:] == pytest.approx(drop / 50.0)
    assert json.loads((finished / "results.json").read_text())["engine"] == "numba"


def test_a_stopped_run_continues_to_the_same_bits(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = tmp_path / "stopped"
    advance, calls = step_module.YeeStep.advance, []

    def interrupted(self: Any, *arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return advance(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(step_module.YeeStep, "advance", interrupted)
        with pytest.raises(runs.Interrupted):
            runs.execute(coarse(), stopped, quiet=True)
    assert not (stopped / "s11.csv").exists()
    runs.execute(coarse(), stopped, quiet=True, resume=True)
    for name in ("s11.csv", "restart.safetensors", "fields.vtr"):
        assert (stopped / name).read_bytes() == (finished / name).read_bytes()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("time.step=5 ps", r"dt = 5e-12 s is above the Courant limit .* use time.step <= "),
        ("time.courant=1.2", "above the Courant limit, 1; use at most 0.99"),
        ("time.decay=-50", "write it as"),
        ("ports.0.resistance=0 ohm", "must be positive"),
        ('ports.0.stop=["0 mm", "26.4 mm", "0 mm"]', "no extent along its direction"),
        ('ports.0.start=["0 mm", "24.5 mm", "0 mm"]', "port"),
        ('ports.0.start=["-100 mm", "24 mm", "0 mm"]', "outside the grid"),
        # under the shorting wall, which is metal from bottom to top
        ("port", "shorted"),
        ('ports.0.stop=["0 mm", "26.4 mm", "0.3935 mm"]', "upper end of the port.*touches no metal"),
        ("fields.at=70 mm", "choose a plane inside the grid"),
        ("time.n_steps=100", "shorter than the pulse"),
        ('fields.frequencies=["40 GHz"]', "up to 40 GHz .* raise excitation.frequency_max"),
        ("geometry.parts.1.file=none.stl", "none.stl"),
        ("geometry.parts.1.kind=solid", "sheet"),
        ("geometry.parts.1.unit=parsec_metre", "unit"),
        ("geometry.parts.0.material=bord", "did you mean 'board'"),
        ("engine=triton", "engine 'triton' cannot run this case"),
    ],
)
def test_bad_input_is_refused_before_the_run_with_its_fix(
    override: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    overrides = [override]
    if override == "port":
        overrides = ['ports.0.start=["16 mm", "30 mm", "0 mm"]', 'ports.0.stop=["16 mm", "32.4 mm", "0.787 mm"]']
    with pytest.raises((ValueError, LookupError, OSError), match=f"(?s){message}"):
        prepare(coarse(*overrides))


def test_the_run_ends_when_the_port_has_rung_down(tmp_path: Path) -> None:
    """At -10 dB of the peak the voltage window after the pulse is soon below the level."""
    case = coarse("time.n_steps=9000", "time.decay=-10 dB")
    runs.execute(case, tmp_path / "short", quiet=True)
    steps = json.loads((tmp_path / "short/results.json").read_text())["steps"]
    assert steps < case.time.n_steps / 2


def test_a_run_that_ends_too_early_says_so(finished: Path) -> None:
    assert "sharp resonances are smeared; raise time.n_steps" in (finished / "log.txt").read_text()


def test_without_frequencies_pictures_are_made_near_the_resonances(tmp_path: Path) -> None:
    runs.execute(coarse("time.n_steps=3000", "fields.frequencies=[]"), tmp_path / "auto", quiet=True)
    figures = json.loads((tmp_path / "auto/results.json").read_text())
    found = [value for name, value in figures.items() if name.startswith("resonance")]
    shown = [float(path.stem.split("_")[1]) for path in (tmp_path / "auto").glob("field_*.png")]
    assert len(found) >= 1
    # Fields are summed at 40 frequencies from 0.2 to 10 GHz: the nearest is at most half a gap away.
    assert all(min(abs(place - one) for place in shown) < 0.126 for one in found)


def test_precision_sets_the_type_of_the_fields() -> None:
    assert prepare(coarse("precision=float32")).step().start(1).electric.dtype == torch.float32
