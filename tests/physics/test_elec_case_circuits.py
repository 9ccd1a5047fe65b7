"""Lumped elements of a case file against circuit theory, by scikit-rf; ports of which some are driven.

A network of 1 mm plates: 50 ohm port, 138 nH in series, 13.8 pF across, which match a load of 200 ohm at 100 MHz
[Pozar2012, sec. 5.1]. The plates add about 0.5 nH a millimetre of the loop and 0.1 pF: 3 % of the inductance at most,
3.9 ohm at 150 MHz, which is 3.9 / (2 x 50) = 0.04 in S11. A port that ends the network gives S21 too.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elec.case import AntennaCase, Solution, solve
from mindsci import runs
from mindsci.config import validate
from mindsci.errors import InputError

INDUCTANCE, CAPACITANCE, LOAD = 137.8e-9, 13.78e-12, 200.0


def sheet(name: str, at: int, low: int, high: int) -> dict[str, Any]:
    return {"name": name, "sheet": {"at": f"{at} mm", "low": f"{low}, 0 mm", "high": f"{high}, 2 mm"}}


def table(*, load: bool, drive: list[str] | None = None, n_steps: int = 30_000) -> dict[str, Any]:
    feed = {"name": "feed", "start": "1, 1, 0 mm", "stop": "1, 1, 1 mm", "direction": "z"}
    end = {"start": "5, 1, 0 mm", "stop": "5, 1, 1 mm", "direction": "z", "resistance": f"{LOAD} ohm"}
    elements = [
        {"start": "2, 1, 1 mm", "stop": "3, 1, 1 mm", "direction": "x", "inductance": f"{INDUCTANCE * 1e9} nH"},
        {"start": "4, 1, 0 mm", "stop": "4, 1, 1 mm", "direction": "z", "capacitance": f"{CAPACITANCE * 1e12} pF"},
    ]
    made = {
        "task": "elec/antenna",
        "geometry": {"parts": [sheet("ground", 0, 0, 6), sheet("left", 1, 0, 2), sheet("right", 1, 3, 6)]},
        "grid": {"cell": ["1 mm"] * 3, "margin": "3 mm", "growth": 1.0, "absorber_cells": 0},
        "boundaries": {axis: "pec" for axis in "xyz"},
        "elements": [*elements, end] if load else elements,
        "ports": [feed] if load else [feed, {"name": "end", **end}],
        "excitation": {"frequency_max": "400 MHz"},
        "frequencies": {"start": "40 MHz", "stop": "150 MHz", "points": 12},
        "time": {"n_steps": n_steps, "decay": "-60 dB"},
    }
    return made if drive is None else made | {"drive": drive}


def case_of(made: dict[str, Any]) -> AntennaCase:
    found: AntennaCase = validate(AntennaCase, made, folder=Path(), source="circuit")
    return found


@functools.cache
def solved(load: bool, drive: tuple[str, ...] | None = None) -> Solution:
    return solve(case_of(table(load=load, drive=None if drive is None else list(drive))))


def circuit(frequencies: torch.Tensor) -> Any:
    import skrf
    from skrf.media import DefinedGammaZ0

    line = DefinedGammaZ0(skrf.Frequency.from_f(frequencies.numpy(), unit="Hz"), z0=50.0)
    return line.inductor(INDUCTANCE) ** line.shunt_capacitor(CAPACITANCE)


def test_elements_of_a_case_match_a_load_as_circuit_theory_says() -> None:
    found = solved(load=True).scattering
    made = circuit(found.frequencies)
    made.renormalize([50.0, LOAD])
    expected = torch.from_numpy(made.s[:, 0, 0])
    assert float((found.s[:, 0, 0] - expected).abs().max()) < 0.04
    assert float(found.s[:, 0, 0].abs().min()) < 0.04  # at 100 MHz


def test_only_the_driven_port_has_a_column_and_it_is_that_of_the_whole_matrix() -> None:
    one, whole = solved(load=False, drive=("feed",)).scattering, solved(load=False).scattering
    assert one.known == (0,) and one.left_out == ("end",)
    assert torch.allclose(one.s[:, :, 0], whole.s[:, :, 0], atol=1e-6)
    assert bool(one.s[:, :, 1].isnan().all())
    made = circuit(whole.frequencies)
    made.renormalize([50.0, LOAD])
    assert np.abs(whole.s.numpy() - made.s).max() < 0.04
    assert one.passivity() < 1e-3
    for refused in (lambda: one.renormalised(50.0), lambda: one.network(), lambda: one.write_touchstone(Path("x.s2p"))):
        with pytest.raises(InputError, match="'end' was not driven; drive all ports"):
            refused()


def test_a_run_writes_the_columns_that_it_knows_and_says_which_it_does_not(tmp_path: Path) -> None:
    runs.execute(case_of(table(load=False, drive=["end"], n_steps=8_000)), tmp_path / "run", quiet=True)
    assert "no Touchstone file: 'feed' was not driven" in (tmp_path / "run/log.txt").read_text()
    assert not list((tmp_path / "run").glob("*.s2p"))
    header = (tmp_path / "run/scattering.csv").read_text().splitlines()[0]
    assert "|S12| [dB]" in header and "S11" not in header


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"drive": ["fed"]}, "did you mean 'feed'"),
        ({"drive": []}, "leave it out to drive all"),
        ({"elements": [{"start": "0, 0, 0 mm", "stop": "0, 0, 1 mm", "direction": "z"}]}, "the circuit is empty"),
    ],
)
def test_tables_of_circuits_that_make_no_sense_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises((InputError, LookupError), match=words):
        case_of(table(load=False) | changes)


def test_an_element_off_the_metal_or_shorted_is_an_error_that_names_it() -> None:
    from elec.case import assemble

    made = table(load=True)
    made["elements"] = [
        {"name": "coil", "start": "1, 4, 0 mm", "stop": "1, 4, 1 mm", "direction": "z", "inductance": "1 nH"},
        {"start": "0, 1, 0 mm", "stop": "1, 1, 0 mm", "direction": "x", "resistance": "1 ohm"},
    ]
    texts = "\n".join(one.text for one in assemble(case_of(made))[1] if one.severity == "error")
    assert "coil: the upper end of the lumped element" in texts and "element 2: the lumped element is shorted" in texts
