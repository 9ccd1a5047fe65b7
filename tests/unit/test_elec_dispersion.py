"""Poles of materials, tabulated constants and surfaces: formulas, units, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch

from elec.fdtd import scene_media
from elec.geometry import Scene, box
from elec.geometry.scene import Body
from elec.grid import Grid
from elec.materials import (
    Material,
    MaterialTable,
    Pole,
    debye,
    drude,
    foil_surface,
    lorentz,
    read_optical_constants,
    thick_surface,
)
from elec.materials.fit import fit_permittivity
from mindsci.errors import InputError
from mindsci.units import VACUUM_PERMEABILITY, VACUUM_PERMITTIVITY

F = torch.tensor([1e9, 8e9, 3e10], dtype=torch.float64)
S = 2j * math.pi * F


@pytest.mark.parametrize("damping", [0.0, 1e10, 1.2e11, 2 * 2 * math.pi * 1e10, 3e11], ids=lambda d: f"{d:.1g}")
def test_a_lorentz_medium_has_its_formula_at_any_damping(damping):
    omega = 2 * math.pi * 1e10
    found = Material(name="x", relative_permittivity=2.0, poles=lorentz(1.5, 1e10, damping)).permittivity(F)
    assert torch.allclose(found, 2.0 + 1.5 * omega**2 / (omega**2 + damping * S + S**2), rtol=1e-5)


def test_debye_drude_and_conductivity_add_up():
    poles = debye(3.0, 1e-11) + drude(5e9, 2e10)
    found = Material(name="x", conductivity=(0.0, 0.2, 0.0), poles=poles).permittivity(F, axis=1)
    wanted = (
        1.0 + 3.0 / (1 + S * 1e-11) + (2 * math.pi * 5e9) ** 2 / (S**2 + S * 2e10) + 0.2 / (S * VACUUM_PERMITTIVITY)
    )
    assert torch.allclose(found, wanted, rtol=1e-12)


def test_a_case_table_holds_poles_and_three_numbers():
    table = MaterialTable(
        relative_permittivity=[2.0, 3.0, 4.0],
        conductivity=["1 S/m", "0 S/m", "2 S/m"],
        debye=[{"strength": 3.0, "relaxation_time": "10 ps"}],
        lorentz=[{"strength": 1.5, "frequency": "10 GHz", "damping": "1e10 1/s"}],
        drude=[{"plasma_frequency": "5 GHz"}],
    )
    material = table.material("x")
    assert material.relative_permittivity == (2.0, 3.0, 4.0) and material.conductivity == (1.0, 0.0, 2.0)
    assert [pole.rate for pole in material.poles[:2]] == [pytest.approx(-1e11), 0.0]
    again = MaterialTable.model_validate(table.model_dump())
    assert again.material("x").permittivity(F).allclose(material.permittivity(F))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Pole(rate=1.0), "without a positive real part"),
        (lambda: Pole(rate=-1.0, jump=1j), "strengths must be real"),
        (lambda: Material(name="x", poles=(Pole(rate=-1e10 + 1e10j, jump=-1e10j * -1),)), "give energy to the field"),
        (lambda: Material(name="x", kind="sheet"), "has a surface"),
        (lambda: Material(name="x", conductivity=(1.0, 2.0)), "give one, or three"),
        (lambda: MaterialTable(kind="conductor", conductivity="5.8e7 S/m"), "band of frequencies"),
        (lambda: MaterialTable(kind="sheet", relative_permittivity=2.0), "takes sheet_resistance"),
        (lambda: MaterialTable(n_poles=3), "say how a file is fitted"),
    ],
)
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises((InputError, ValueError)) as refusal:
        make()
    assert words in str(refusal.value)


def test_each_axis_of_a_diagonal_material_reaches_its_own_edges():
    x = 1e-3 * torch.arange(7, dtype=torch.float64)
    material = Material(name="m", relative_permittivity=(2.0, 3.0, 4.0), conductivity=(0.1, 0.2, 0.3))
    body = Body(name="b", solid=box((-1, -1, -1), (1, 1, 1)), material="m")
    media = scene_media(Scene(parts=(body,), materials={"m": material}), Grid(x=x, y=x, z=x))
    assert [float(media.permittivity[c, 3, 3, 3]) for c in range(3)] == pytest.approx([2.0, 3.0, 4.0])
    assert [float(media.conductivity[c, 3, 3, 3]) for c in range(3)] == pytest.approx([0.1, 0.2, 0.3])


def test_skin_and_foil_follow_their_closed_forms():
    f = torch.logspace(9.0, 10.0, 31, dtype=torch.float64)
    s = 2j * math.pi * f
    thick = thick_surface(5.8e7, (1e9, 1e10))
    wanted = torch.sqrt(VACUUM_PERMEABILITY * s / 5.8e7)
    assert float((thick.impedance(f) / wanted - 1).abs().max()) < 1e-3
    gamma = torch.sqrt(s * VACUUM_PERMEABILITY * 5.8e7)
    foil = foil_surface(5.8e7, 2e-6, (1e9, 1e10))
    assert float((foil.admittance(f) / (2 * 5.8e7 / gamma * torch.tanh(gamma * 1e-6)) - 1).abs().max()) < 1e-3


def test_a_lorentz_and_drude_medium_is_found_again_from_its_samples():
    truth = Material(name="x", relative_permittivity=2.5, poles=lorentz(1.5, 1e10, 5e9) + drude(2e10, 3e9))
    f = torch.logspace(9.5, 10.5, 60, dtype=torch.float64)
    fit = fit_permittivity("x", f, truth.permittivity(f), n_poles=2)
    assert fit.largest_error < 1e-4


FORMULAS = {
    1: ("0.2 0.7 0.1", lambda w: (1.2 + 0.7 * w**2 / (w**2 - 0.01)) ** 0.5),
    2: ("0.2 0.7 0.01", lambda w: (1.2 + 0.7 * w**2 / (w**2 - 0.01)) ** 0.5),
    3: ("2.0 0.1 -2 0.05 2", lambda w: (2.0 + 0.1 / w**2 + 0.05 * w**2) ** 0.5),
    4: ("2.0 0.1 2 0.2 2 0 0 0 1 0.01 2", lambda w: (2.0 + 0.1 * w**2 / (w**2 - 0.04) + 0.01 * w**2) ** 0.5),
    5: ("1.5 0.01 -2", lambda w: 1.5 + 0.01 / w**2),
    6: ("0 0.05 200", lambda w: 1.0 + 0.05 / (200 - w**-2)),
    7: ("1.5 0.01 0.001 0.02", lambda w: 1.5 + 0.01 / (w**2 - 0.028) + 0.001 / (w**2 - 0.028) ** 2 + 0.02 * w**2),
    8: (
        "0.3 0.01 0.05 0.01",
        lambda w: (
            (
                (1 + 2 * (0.3 + 0.01 * w**2 / (w**2 - 0.05) + 0.01 * w**2))
                / (1 - (0.3 + 0.01 * w**2 / (w**2 - 0.05) + 0.01 * w**2))
            )
            ** 0.5
        ),
    ),
    9: (
        "2 0.01 0.05 0.02 0.4 0.1",
        lambda w: (2 + 0.01 / (w**2 - 0.05) + 0.02 * (w - 0.4) / ((w - 0.4) ** 2 + 0.1)) ** 0.5,
    ),
}


@pytest.mark.parametrize("number", FORMULAS)
def test_the_nine_formulas_of_refractiveindex_info(number, tmp_path):
    coefficients, formula = FORMULAS[number]
    path = tmp_path / "m.yml"
    path.write_text(
        "COMMENTS: |\n    type: not data\nDATA:\n  - type: formula "
        f"{number}\n    wavelength_range: 0.5 2.0\n    coefficients: {coefficients}\n"
        "CONDITIONS:\n    temperature: 293\n"
    )
    found = read_optical_constants(path)
    wavelength = 299.792458e12 / found.frequencies
    assert torch.allclose(found.index.real, formula(wavelength), rtol=1e-12) and not found.has_loss


def test_tables_of_n_and_k_and_csv(tmp_path):
    path = tmp_path / "m.yml"
    path.write_text(
        "DATA:\n  - type: tabulated n\n    data: |\n        0.5 1.5\n        1.0 1.4\n        2.0 1.3\n"
        "  - type: tabulated k\n    data: |\n        0.5 0.2\n        2.0 0.1\n"
    )
    found = read_optical_constants(path)
    assert found.index.tolist() == pytest.approx([1.3 - 0.1j, 1.4 - (0.2 - 0.1 / 3) * 1j, 1.5 - 0.2j])
    table = tmp_path / "m.csv"
    table.write_text("wavelength,n,k\n0.5,1.5,0.2\n1.0,1.4,0.1\n")
    assert read_optical_constants(table).index.tolist() == pytest.approx([1.4 - 0.1j, 1.5 - 0.2j])
    (tmp_path / "bad.yml").write_text("DATA:\n  - type: tabulated nk\n    data: |\n        1.0 two 3\n")
    with pytest.raises(InputError, match="two 3' is not a row of numbers"):
        read_optical_constants(tmp_path / "bad.yml")
