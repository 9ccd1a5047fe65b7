"""A grid cut into slabs over several processes gives the fields, records and Fourier sums of one process.

Reference engine: each number is made by the same operations, so the same bits. Fused engine: a kernel that is turned
otherwise, or meets planes in another order, sums curls in another order: some roundings (1e-13 of the largest value in
double precision after 39 steps). Transposed exchange: <y, A x> = <A^T y, x> for random x and y, to rounding.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from launching import torchrun
from safetensors.torch import load_file
from slab_ranks import PROBLEMS, line, sphere

from mindsci import runs
from mindsci.distributed.halo import slabs
from mindsci.errors import InputError

Found = list[dict[str, Any]]
Made = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="module")
def found(made_once: Made) -> Found:
    """What each of the two processes found."""
    return read(made_once("slabs", lambda folder: torchrun("slab_ranks.py", str(folder), "fields")))


@pytest.fixture(scope="module")
def cases(made_once: Made) -> Found:
    """What each of the two processes found of whole cases."""
    return read(made_once("slab_cases", lambda folder: torchrun("slab_ranks.py", str(folder), "cases")))


def read(folder: Path) -> Found:
    return json.loads((folder / "found.json").read_text())


def check(found: Found) -> None:
    for name in PROBLEMS:
        exact, fused = found[0][f"{name} reference"], found[0][f"{name} numba"]
        assert {"electric", "magnetic", "records", "spectra"} <= set(exact)
        assert set(exact.values()) == {0.0}, name
        assert max(fused.values()) < 1e-13, name


def test_two_slabs_give_the_fields_of_one_process(found: Found) -> None:
    check(found)


@pytest.mark.slow
def test_four_slabs_give_the_fields_of_one_process(tmp_path: Path) -> None:
    torchrun("slab_ranks.py", str(tmp_path), "fields", processes=4)
    check(read(tmp_path))


def test_slabs_of_several_threads_give_the_fields_of_one_process(found: Found) -> None:
    assert max(found[0]["threads numba"].values()) < 1e-13


def test_an_exchange_brings_the_planes_of_the_neighbours_and_its_derivative_is_the_transpose(found: Found) -> None:
    ranks = [one["halo"] for one in found]
    for one in ranks:
        assert one["brought"] == one["expected"]
    assert sum(one["forward"] for one in ranks) == pytest.approx(sum(one["backward"] for one in ranks), rel=1e-12)


def test_a_slab_takes_its_share_of_the_memory(found: Found) -> None:
    """24 of 48 planes and a halo of 4: 0.58; the absorbing layers at one end are thicker than those at the other."""
    for one in found:
        assert one["sizes"]["slab"] < 0.62 * one["sizes"]["alone"]


def test_what_slabs_cannot_do_is_refused(found: Found) -> None:
    assert all("x is periodic" in one["periodic"] for one in found)
    with pytest.raises(InputError, match="use at most 3 processes"):
        slabs(15, 4, 5)


@pytest.mark.slow
def test_a_case_of_ports_gives_the_same_bits_over_two_processes(cases: Found, tmp_path: Path) -> None:
    runs.execute(line(), tmp_path / "alone", quiet=True)
    together = Path(cases[0]["folder"]) / "line"
    assert (together / "scattering.csv").read_bytes() == (tmp_path / "alone/scattering.csv").read_bytes()
    assert (together / "fields.vtr").read_bytes() == (tmp_path / "alone/fields.vtr").read_bytes()
    alone = load_file(tmp_path / "alone/restart.safetensors")
    for name, values in load_file(together / "restart.safetensors").items():
        assert bool((values == alone[name]).all()), name


@pytest.mark.slow
def test_a_case_that_one_process_stops_is_taken_up_by_all(cases: Found, tmp_path: Path) -> None:
    """Single precision: 1e-5 of the largest."""
    assert [one["stopped"] for one in cases] == [[2], [2]]
    runs.execute(sphere(), tmp_path / "alone", quiet=True)
    name = "cross_section_2_GHz.csv"
    together = np.loadtxt(Path(cases[0]["folder"]) / "sphere" / name, delimiter=",", skiprows=1)
    alone = np.loadtxt(tmp_path / "alone" / name, delimiter=",", skiprows=1)
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5 * alone[:, 1:].max())
