"""What is said before a run: each fault named with its part and its fix."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from elec.case import assemble
from elec.fdtd import room
from elec.preflight import check_band, check_memory
from mindsci.config import load_case
from mindsci.errors import InputError

NOTCH = Path(__file__).resolve().parents[2] / "docs/examples/microstrip_notch.toml"
SMALL = [
    "grid.cells_across=2",
    "grid.cells_at_rim=1",
    "grid.absorber_cells=3",
    'grid.extent.x="-3, 3 mm"',
    "fields.frequencies=[]",
]
LUMPED = 'ports=[{start="-1, 0, 0 mm", stop="-1, 0, 0.254 mm", direction="z"}]'


def findings(*overrides: str) -> list[tuple[str, str]]:
    return [(one.severity, one.text) for one in assemble(load_case(NOTCH, [*SMALL, *overrides]))[1]]  # type: ignore


def said(severity: str, *overrides: str) -> str:
    return "\n".join(text for kind, text in findings(*overrides) if kind == severity)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ['ports=[{start="-1, 0, 0 mm", stop="-1, 0, 0.5 mm", direction="z"}]'],
            "port 1: the port is shorted|upper end",
        ),
        (
            ['ports=[{start="-1, 1, 0 mm", stop="-1, 1, 0.1 mm", direction="z"}]'],
            "upper end of the port.*touches no metal",
        ),
    ],
)
def test_what_cannot_work_is_an_error_with_its_port(overrides, words):
    text = said("error", *overrides)
    assert re.search(words, text), text


def test_a_port_too_close_to_the_end_of_the_grid_is_told_by_its_tiny_cells():
    text = said("warning", 'ports.0.start="-2.95, -99, 0 mm"', 'ports.0.stop="-2.95, 99, 99 mm"')
    assert "by 1 cells between end of the grid and a microstrip port" in text and "move what stands too close" in text


def test_coarse_cells_and_thin_gaps_are_warnings_that_name_the_part():
    explicit = 'grid={cell=["1.5 mm", "1.5 mm", "0.254 mm"], margin="1 mm", absorber_cells=3}'
    text = said("warning", explicit, LUMPED, "excitation.frequency_max=40 GHz", 'boundaries={z="absorbing"}')
    assert "part 'substrate': cells of" in text and "are coarse for a wavelength" in text
    assert "the gap of 0.254 mm between metal" in text and "'ground' and 'line'" in text


def test_a_loss_tangent_far_from_the_band_is_a_warning():
    assert not check_band("board", 2.45e9, 1e9, 4e9)
    assert "outside the band" in check_band("board", 10e9, 1e9, 4e9)[0].text


def test_a_run_that_would_not_fit_is_an_error(monkeypatch):
    model, _ = assemble(load_case(NOTCH, [*SMALL, LUMPED]))
    assert model is not None and not check_memory(model.grid)
    monkeypatch.setattr(room, "free_memory", lambda device: 1000)
    assert "GiB are free on cpu; use fewer cells" in check_memory(model.grid)[0].text


def test_fields_that_would_not_fit_are_refused_before_they_are_made(monkeypatch):
    import torch

    from elec.fdtd import uniform_media, yee_step
    from elec.fdtd.probes import Box, Monitors
    from elec.grid import Grid

    line = torch.linspace(0.0, 1.0, 11, dtype=torch.float64)
    grid = Grid(x=line, y=line, z=line)
    monitors = Monitors(boxes=(Box(low=(0, 0, 0), high=(10, 10, 10)),), frequencies=(1e9, 2e9))
    step = yee_step(grid, uniform_media(grid, dtype=torch.float32), monitors=monitors)
    # Six components at 11^3 nodes and two complex sums of three at 10^3 places, and a copy of each to work on.
    needed = 2 * 4 * (6 * 11**3 + 2 * 2 * 3 * 10**3)
    monkeypatch.setattr(room, "free_memory", lambda device: needed)
    step.start()
    monkeypatch.setattr(room, "free_memory", lambda device: needed - 1)
    with pytest.raises(InputError, match=r"fields of 11 x 11 x 11 nodes, 2 Fourier sums .* use fewer"):
        step.start()


def test_the_limit_of_a_container_counts(tmp_path):
    for name, text in (("memory.max", "1000"), ("memory.current", "700"), ("memory.stat", "file 9\ninactive_file 50")):
        (tmp_path / name).write_text(text)
    assert room._left_of_limit(tmp_path) == 350
    (tmp_path / "memory.max").write_text("max")
    assert room._left_of_limit(tmp_path) is None
    assert room._left_of_limit(tmp_path / "none") is None
    assert (room.free_memory() or 1) > 0


def test_one_fault_hides_none_of_the_others():
    text = said("error", "time.n_steps=10", "fields.at=70 mm", 'time.step="1 ns"', LUMPED.replace("0.254", "0.127"))
    for words in ("shorter than the pulse", "choose a plane", "above the Courant limit", "port 1"):
        assert words in text, text


def test_double_precision_needs_twice_the_memory(monkeypatch):
    import torch

    model, _ = assemble(load_case(NOTCH, [*SMALL, LUMPED]))
    monkeypatch.setattr(room, "free_memory", lambda device: model.grid.n_cells * 100)
    assert not check_memory(model.grid)
    assert check_memory(model.grid, dtype=torch.float64)


def test_the_dry_run_prints_a_case_and_its_report(capsys):
    from mindsci import cli

    cli.run(NOTCH, settings=[*SMALL, LUMPED], dry_run=True)
    printed = capsys.readouterr().out
    assert "# port 1: lumped port, 50 ohm" in printed and "# expected run time" in printed
    with pytest.raises(InputError, match="1 faults, marked 'error' above"):
        cli.run(NOTCH, settings=[*SMALL, LUMPED.replace('stop="-1, 0, 0.254', 'stop="-1, 0, 0.127')], dry_run=True)
