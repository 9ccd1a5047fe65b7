"""Field sources of a case file: what they write, what is said before the run, and that bad input is named."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elec.case import FieldsCase, assemble_sources, prepare_sources
from elec.fdtd import step as step_module
from mindsci import runs
from mindsci.config import load_case
from mindsci.errors import InputError

EXAMPLES = Path(__file__).resolve().parents[2] / "docs/examples"
SPHERE = [
    "grid.cells_per_wavelength=12",
    "grid.absorber_cells=6",
    'grid.extent={x="0, 120 mm", y="0, 120 mm", z="-120, 120 mm"}',
    "time.n_steps=240",
    'far_field.frequencies=["2 GHz"]',
    'fields.frequencies=["2 GHz"]',
]
BEAM = (
    'sources=[{kind="gaussian_beam", waist="100 mm", focus="0, 0, 0 mm", direction="+z", polarisation="x"}]',
    "far_field.frequencies=[]",
    "geometry.parts=[]",
    'grid.extent={x="0, 260 mm", y="0, 260 mm", z="-90, 60 mm"}',
    "excitation.frequency_min=1.2 GHz",
    "time.n_steps=700",
)


def sphere(*overrides: str) -> FieldsCase:
    return load_case(EXAMPLES / "sphere_cross_section.toml", [*SPHERE, *overrides])  # type: ignore[return-value]


def said(*overrides: str) -> dict[str, str]:
    _, findings = assemble_sources(sphere(*overrides))
    return {kind: "\n".join(f.text for f in findings if f.severity == kind) for kind in ("error", "warning", "note")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources") / "whole"
    runs.execute(sphere(), folder, quiet=True)
    return folder


def test_a_plane_wave_leaves_cross_sections_fields_and_pictures(finished: Path) -> None:
    for picture in ("mesh.png", "field_2_GHz.png", "cross_section_2_GHz.png"):
        assert (finished / picture).read_bytes().startswith(b"\x89PNG")
    assert b"electric_2_GHz_real" in (finished / "fields.vtr").read_bytes()[:4000]
    figures = json.loads((finished / "results.json").read_text())
    table = np.loadtxt(finished / "cross_section_2_GHz.csv", delimiter=",", skiprows=1)
    assert table.shape == (361, 3)
    assert table[0, 1] == pytest.approx(table[0, 2], rel=1e-6)  # straight back the two planes meet
    assert table[0, 1] == pytest.approx(figures["monostatic radar cross-section at 2 GHz [m^2]"], rel=1e-6)


@pytest.mark.parametrize("wave", ["pulse", "cw"])
def test_a_stopped_run_continues_to_the_same_bits(wave: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    continuous = ('excitation={waveform="cw", frequency="2 GHz"}', "time.n_steps=800")
    overrides = continuous if wave == "cw" else ("time.n_steps=600", "time.decay=-200 dB")
    runs.execute(sphere(*overrides), tmp_path / "whole", quiet=True)
    advance, calls = step_module.YeeStep.advance, []

    def interrupted(self: Any, *arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return advance(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(step_module.YeeStep, "advance", interrupted)
        with pytest.raises(runs.Interrupted):
            runs.execute(sphere(*overrides), tmp_path / "stopped", quiet=True)
    runs.execute(sphere(*overrides), tmp_path / "stopped", quiet=True, resume=True)
    runs.execute(sphere(*overrides), tmp_path / "stopped", quiet=True, resume=True)  # of a finished run
    for name in ("restart.safetensors", "fields.vtr", "cross_section_2_GHz.csv"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_report_before_a_run_names_the_box_the_signal_and_the_cost() -> None:
    report = "\n".join(sphere().preflight())
    for words in (
        "source 1: plane wave of 1 V/m",
        "total field from (0, 0,",
        "signal: pulse up to 2.6 GHz",
        "run time",
    ):
        assert words in report, report


@pytest.mark.parametrize(
    ("overrides", "severity", "words"),
    [
        (["sources.0.polarisation=y"], "error", "mirror of fields that lie along x .* turn the polarisation"),
        (["sources.0.direction=x", "sources.0.polarisation=z"], "error", "source 1: "),
        (['grid.extent.z="-55, 55 mm"'], "error", "box of total field passes through metal"),
        (["sources.0.clearance=30"], "error", "no cell is left .* smaller clearance"),
        (
            ['sources=[{kind="dipole", position="0, 0, 20 mm", direction="z"}]'],
            "error",
            "source 1: the dipole at .* lies in metal",
        ),
        (
            ['sources=[{kind="dipole", position="0, 0, 140 mm", direction="z"}]'],
            "error",
            "lies outside the grid or in its absorbing layers",
        ),
        (
            ['sources=[{kind="dipole", position="0, 0, 70 mm", direction="z"}]', "excitation.waveform=gaussian"],
            "warning",
            "static field never decays",
        ),
        (
            ['sources=[{kind="gaussian_beam", waist="60 mm", focus="0 mm", direction="z", polarisation="x"}]'],
            "error",
            "no far field with these sources: the sheet of a beam",
        ),
        (BEAM, "warning", "the waist of 100 mm is under a wavelength, 149.9 mm"),
        ([*BEAM, "sources.0.waist=20 mm"], "error", "use a wider waist"),
        ([*BEAM, "sources.0.sheet=-120 mm"], "error", "sheet"),
        (["excitation.frequency_min=2.2 GHz", "time.n_steps=1300"], "error", "at 2 GHz the signal .* a band that"),
        (
            ["geometry.parts=[]", 'geometry.background="sea"', 'materials.sea={conductivity="4 S/m"}'],
            "error",
            "is lossy or dispersive",
        ),
    ],
)  # fmt: skip
def test_what_would_go_wrong_is_said_before_the_run(overrides: list[str], severity: str, words: str) -> None:
    import re

    found = said(*overrides)
    assert re.search(f"(?s){words}", found[severity]), found


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sources.0.kind=plane_wav"], "did you mean 'plane_wave'"),
        (["sources.0.direction=w"], "is no direction; write an axis"),
        (["sources.0.polarisation=z"], "is parallel to the direction of travel"),
        (["sources.0.amplitude=1"], "has no unit"),
        (["sources=[]"], "sources"),
        (["far_field.frequencies=[]", "fields.frequencies=[]"], "nothing is asked for"),
        (['excitation={waveform="ricker"}'], "needs frequency; add"),
        (['excitation={waveform="gaussian", frequency_max="2 GHz", ramp=3}'], "has no ramp"),
        (['excitation={waveform="cw", frequency="1 GHz"}'], "holds no other frequency"),
        (['far_field.frequencies=["9 GHz"]'], "the signal ends at 2.6 GHz"),
        (['sources.0.name="a"', 'sources=[{kind="dipole", position="0 mm", direction="z", name="a"}, '
          '{kind="dipole", position="9 mm", direction="z", name="a"}]'], "two sources have one name"),
        (["geometry.parts=[]", 'grid={cell="5 mm", margin="10 mm"}'], "are those of parts, and there are none"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_its_fix(overrides: list[str], message: str) -> None:
    with pytest.raises((InputError, LookupError), match=f"(?s){message}"):
        prepare_sources(sphere(*overrides))
