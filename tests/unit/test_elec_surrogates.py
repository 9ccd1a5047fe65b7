"""Surrogates of reflection curves: what they compute, what they refuse, and that they learn a family of designs."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from elec.surrogates import Curves, CurveSplits, DenseReflection, RationalReflection, SeriesReflection, load_surrogate
from elec.surrogates.case import SurrogateCase
from elec.surrogates.curves import read_file
from elec.surrogates.gaussian_process import GaussianProcessReflection
from elec.surrogates.rational import _parts
from elec.surrogates.task import SurrogateTask, errors_of
from mindsci import hub
from mindsci.errors import InputError
from mindsci.runs import execute
from mindsci.train.indices import read_indices

RANGES: dict[str, Any] = {"low": [0.0, 1.0], "high": [2.0, 3.0], "frequency_max": 4e9}
SMALL: dict[str, Any] = {"pairs": 2, "width": 24, "hidden": 2}


def family(designs: int, seed: int, frequencies: int = 101) -> Curves:
    """One resonance: a zero and a pole whose places and widths are smooth in two parameters; the zero crosses the
    axis."""
    generator = torch.Generator().manual_seed(seed)
    parameters = torch.rand(designs, 2, generator=generator) * 2.0 + torch.tensor([0.0, 1.0])
    frequency = torch.linspace(0.0, 4e9, frequencies, dtype=torch.float64)
    first, second = parameters.double().T[:, :, None] - torch.tensor([1.0, 2.0])[:, None, None]
    x = frequency / 4e9
    place = 0.5 + 0.15 * first
    zero, pole = 0.02 + 0.03 * second, 0.06
    power = ((x - place) ** 2 + zero**2) / ((x - place) ** 2 + pole**2 + 1e-3 * x**2)
    return Curves(parameters=parameters, frequency=frequency, reflection=(10.0 * power.log10()).float())


def test_zeros_and_poles_give_the_magnitude_of_the_rational_function() -> None:
    torch.manual_seed(0)
    model = RationalReflection(**RANGES, **SMALL, members=1).double()
    parameters = torch.tensor([[0.3, 1.2], [1.7, 2.9]], dtype=torch.float64)
    frequency = torch.linspace(0.1e9, 4e9, 7, dtype=torch.float64)
    found = model(parameters, frequency)[0]
    zeros, poles = model.roots(parameters)
    level = _parts(model.networks[0](model.scaled(parameters)), 2)[-1]
    s = 1j * frequency
    value = torch.ones(2, 7, dtype=torch.complex128)
    for roots, power in ((zeros[0], 1), (poles[0], -1)):
        for k in range(2):
            root = roots[:, k, 1] + 1j * roots[:, k, 0]
            # A root and its image: the function is real where s is.
            value = value * ((s - root[:, None]) * (s - root.conj()[:, None])) ** power
    assert torch.allclose(found, level + 20.0 * value.abs().log10(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [RationalReflection, SeriesReflection, DenseReflection])
def test_the_gradient_by_the_parameters_of_a_design_is_that_of_differences(kind: Any) -> None:
    """Central differences of 1e-5 in float64 err by 1e-10 of the third derivative: 1e-6 leaves room."""
    torch.manual_seed(1)
    frequency = torch.linspace(0.0, 4e9, 11, dtype=torch.float64)
    options = {"frequencies": 11} if kind is DenseReflection else {}
    model = kind(**RANGES, members=2, width=16, hidden=2, **options).double()
    design = torch.tensor([[0.7, 2.2]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(model.predict(design, frequency).mean[0, 5], design)
    for axis in range(2):
        step = torch.zeros(1, 2, dtype=torch.float64)
        step[0, axis] = 1e-5
        ends = [model.predict(design.detach() + sign * step, frequency).mean[0, 5].detach() for sign in (1, -1)]
        assert float(slope[0, axis]) == pytest.approx(float(ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-9)


def test_a_design_outside_the_ranges_is_refused() -> None:
    model = RationalReflection(**RANGES, **SMALL)
    with pytest.raises(InputError, match=r"parameter 1 lies outside 1 to 3"):
        model.predict(torch.tensor([[1.0, 3.5]]), torch.linspace(0, 4e9, 5, dtype=torch.float64))


def test_ranges_that_are_empty_are_refused() -> None:
    with pytest.raises(InputError, match=r"each parameter needs a low end below its high end"):
        RationalReflection(low=[0.0], high=[0.0], frequency_max=1e9)


def test_models_of_a_grid_refuse_other_frequencies() -> None:
    curves = family(20, 0)
    between = curves.frequency[:-1] + 1.3e7
    with pytest.raises(InputError, match=r"equally spaced frequencies alone"):
        DenseReflection(**RANGES, frequencies=101).predict(curves.parameters, between)
    process = GaussianProcessReflection.fit(curves, low=RANGES["low"], high=RANGES["high"])
    with pytest.raises(InputError, match=r"that it was fitted at alone"):
        process.predict(curves.parameters, between)


def test_a_gaussian_process_interpolates_smooth_curves_and_is_loaded_as_it_was_saved() -> None:
    """Curves that are quadratic in the parameters: 60 designs of two parameters determine them to 1e-3."""
    generator = torch.Generator().manual_seed(4)
    frequency = torch.linspace(0.0, 4e9, 51, dtype=torch.float64)

    def quadratic(designs: int) -> Curves:
        parameters = torch.rand(designs, 2, generator=generator) * 2.0 + torch.tensor([0.0, 1.0])
        x, y = parameters[:, :1] - 1.0, parameters[:, 1:] - 2.0
        basis = (frequency / 4e9).float()
        return Curves(
            parameters=parameters, frequency=frequency, reflection=-3.0 + x * basis + x * y * basis**2 - y * y
        )

    trained, unseen = quadratic(60), quadratic(30)
    process = GaussianProcessReflection.fit(trained, low=RANGES["low"], high=RANGES["high"])
    assert errors_of(process, unseen)["relative_error"] < 0.1
    again = GaussianProcessReflection(**process.config)
    again.load_state_dict(process.state_dict())
    one, other = (model.predict(unseen.parameters, frequency) for model in (process, again))
    assert torch.equal(one.mean, other.mean)
    assert torch.equal(one.deviation, other.deviation)


def test_calibration_makes_95_percent_of_the_points_lie_within_their_interval() -> None:
    torch.manual_seed(2)
    model = RationalReflection(**RANGES, **SMALL, members=3)
    curves = family(30, 3)
    model.calibrate(curves)
    with torch.no_grad():
        found = model.predict(curves.parameters, curves.frequency)
    within = ((found.mean - curves.reflection).abs() <= 1.96 * found.deviation).double().mean()
    assert float(within) == pytest.approx(0.95, abs=1e-3)


def task(members: int = 1) -> SurrogateTask:
    torch.manual_seed(0)
    model = RationalReflection(**RANGES, **SMALL, members=members)
    return SurrogateTask(
        model, CurveSplits(train=family(60, 0), validation=family(20, 1), test=family(40, 2)), batch_size=16
    )


def test_a_coarser_batch_keeps_a_quarter_of_the_frequencies_and_is_the_same_each_time() -> None:
    made = task()
    batch = made.coarsened(made.batches("train").at(0), 0.5)
    one, other = made._compared(batch), made._compared(batch)
    assert one[2].shape[1] in (25, 26)
    assert torch.equal(one[0], other[0])
    assert len(one[3]) == one[2].shape[1]


def test_the_losses_of_items_have_the_loss_as_their_mean() -> None:
    made = task(members=2)
    batch = made.batches("train").at(0)
    assert float(made.item_losses(batch).mean().detach()) == pytest.approx(
        float(made.loss(batch)[0].detach()), rel=1e-6
    )
    chosen = made.choose(batch, torch.tensor([3, 1]))
    assert torch.equal(chosen.parameters, batch.parameters[[3, 1]])


def write_card(folder: Path) -> Path:
    """A data set of 100 designs of the family, with its card."""
    curves = family(100, 5)
    numpy.savez(
        folder / "curves.npz",
        params=curves.parameters.numpy(),
        freq_GHz=(1e-9 * curves.frequency).numpy(),
        s11_dB=curves.reflection.numpy(),
    )
    content = (folder / "curves.npz").read_bytes()
    splits = {"train": range(70), "validation": range(70, 80), "test": range(80, 100)}
    (folder / "split.json").write_text(json.dumps({name: list(rows) for name, rows in splits.items()}))
    (folder / "README.md").write_text("# A family\n")
    lines = [
        'name = "family"', 'title = "a family"', 'licence = "CC0-1.0"', 'source = "made here"', 'citation = "none"',
        'reader = "elec.surrogates.curves:read"', "[units]", 's11_dB = "dB"', "[shapes]", 'params = "100 2"',
        "[[files]]", 'name = "curves.npz"',
        f'sha256 = "{hashlib.sha256(content).hexdigest()}"', f"bytes = {len(content)}",
    ]  # fmt: skip
    for name, rows in splits.items():
        lines += [
            f"[splits.{name}]", 'files = ["curves.npz"]', f"samples = {len(rows)}", 'indices = "split.json"'
        ]  # fmt: skip
    (folder / "card.toml").write_text("\n".join(lines) + "\n")
    return folder / "card.toml"


def test_a_case_trains_a_surrogate_that_answers_for_unseen_designs(tmp_path: Path) -> None:
    """A zero and a pole describe the family nearly exactly. 400 steps leave 10 %, where a curve of zeros leaves 100 %:
    the claim is that it learns, and how well it can is measured by `mindsci validate surrogates`."""
    (tmp_path / "data").mkdir()
    case = SurrogateCase.model_validate(
        {
            "task": "elec/surrogate",
            "data": {"dataset": str(write_card(tmp_path / "data")), "batch_size": 16},
            "model": {"options": SMALL | {"members": 2}},
            "trainer": {
                "steps": 400, "validate_every": 100, "checkpoint_every": 200, "monitor": "relative_error",
                "clip_norm": 1.0, "resolution_warmup": {"start": 0.1, "share": 0.5},
                "optimizer": {"name": "muon", "learning_rate": 1e-2},
                "schedule": {"name": "cosine"},
            },
        }
    )  # fmt: skip
    execute(case, tmp_path / "run", quiet=True)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["test relative_error [%]"] < 10.0
    assert (tmp_path / "run" / "curves.png").stat().st_size > 10_000
    model = load_surrogate(model=tmp_path / "run" / "model.toml")
    test = case.data.load().test
    found = errors_of(model, test)
    assert found["relative_error"] == pytest.approx(results["test relative_error [%]"], rel=1e-5)
    assert float(model.spread) != 1.0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"s11_dB": numpy.zeros((3, 5))}, r"s11_dB: shape \[3, 5\], expected \[3, 4\]"),
        ({"params": numpy.full((3, 2), math.nan)}, r"params: values that are not finite"),
        ({"freq_GHz": None}, r"is no npz file with the arrays params, freq_GHz and s11_dB"),
    ],
)
def test_files_that_are_no_curves_are_refused_by_name(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    arrays = {"params": numpy.zeros((3, 2)), "freq_GHz": numpy.arange(4.0), "s11_dB": numpy.zeros((3, 4))} | changed
    path = tmp_path / "curves.npz"
    numpy.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(InputError, match=message):
        read_file(path)


@pytest.mark.data
@pytest.mark.parametrize("name", ["mindelec_bowtie", "mindelec_phone"])
def test_no_unseen_design_of_mindelec_shares_its_curve_with_one_that_trains(name: str) -> None:
    card = hub.find_card(hub.DatasetCard, name)
    sizes = {split: part.samples for split, part in card.splits.items()}
    for split, size in sizes.items():
        assert len(read_indices(card.folder / "split.json", split, sum(sizes.values()))) == size
    try:
        curves = hub.load_dataset(name)
    except hub.DownloadError as error:
        pytest.skip(f"the curves are not at hand: {error}")
    for part in (curves.validation, curves.test):
        nearest = torch.cdist(part.reflection, curves.train.reflection).amin(1) / part.reflection.norm(dim=1)
        assert float(nearest.min()) > 1e-3
