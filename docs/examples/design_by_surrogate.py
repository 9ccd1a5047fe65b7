"""A phone antenna designed through a surrogate: first for a band, then from the curve that it is to have.

    python docs/examples/design_by_surrogate.py [FOLDER]

The shipped model of the phone's reflection answers in milliseconds and with derivatives, so a search over its two
parameters takes seconds from any start. First: the least reflection over a band. Then a known answer: the curve of a
design that the model never saw, simulated by others, is given, and its parameters are looked for; they come back to
within the error of the model, which the calibrated deviation says beforehand.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from elec.design import minimize
from elec.surrogates import load_surrogate
from elec.surrogates.surrogate import Surrogate
from mindsci.hub import load_dataset

BAND = torch.linspace(1.90e9, 1.98e9, 41, dtype=torch.float64)
STARTS = 5
"""along each parameter"""
DEEPEST = -20.0
"""below which a curve counts as this deep [dB]: the place of a dip matters, not its last decibel"""


def starts(model: Surrogate) -> list[Tensor]:
    """A table of designs across the ranges."""
    shares = (torch.arange(STARTS, dtype=torch.float64) + 0.5) / STARTS
    axes = [low + (high - low) * shares for low, high in zip(model.low, model.high, strict=True)]
    return list(torch.cartesian_prod(*axes))


def searched(model: Surrogate, objective: object) -> Tensor:
    """Returns the best design [parameters] of a search from the most promising starts."""
    low, high = (torch.tensor(ends, dtype=torch.float64) for ends in (model.low, model.high))

    def of_shares(shares: Tensor) -> Tensor:
        return objective(low + (high - low) * shares)  # type: ignore[operator]

    shares = [(design - low) / (high - low) for design in starts(model)]
    with torch.no_grad():
        promising = sorted(shares, key=lambda share: float(of_shares(share)))[:4]
    found = [minimize(of_shares, share, evaluations=40, bounds=(0.0, 1.0)) for share in promising]
    best = min(found, key=lambda one: one.value)
    return low + (high - low) * best.parameters


def main(folder: Path) -> None:
    model = load_surrogate(pretrained="rational_phone").double()

    def in_band(design: Tensor) -> Tensor:
        # The largest reflection of the band, smoothly: a designer asks for all of it.
        return torch.logsumexp(model.predict(design[None], BAND).mean[0], 0)

    design = searched(model, in_band)
    found = model.predict(design[None], BAND)
    print(f"band of 1.90 to 1.98 GHz: design {design.tolist()}, reflection at most {float(found.mean.max()):.2f} dB, ")
    print(f"  of which the model is sure to {1.96 * float(found.deviation.max()):.2f} dB")

    unseen = load_dataset("mindelec_phone").test
    frequency = unseen.frequency.double()
    errors, pictured = [], None
    for index in range(0, len(unseen), 4):
        wanted = unseen.reflection[index].double().clamp(min=DEEPEST)

        def mismatch(design: Tensor, wanted: Tensor = wanted) -> Tensor:
            return (model.predict(design[None], frequency).mean[0].clamp(min=DEEPEST) - wanted).square().mean()

        truth, back = unseen.parameters[index].double(), searched(model, mismatch)
        ranges = torch.tensor(model.high, dtype=torch.float64) - torch.tensor(model.low, dtype=torch.float64)
        errors.append(100 * (back - truth).abs() / ranges)
        print(f"given the curve of {truth.tolist()}: found {[round(float(value), 4) for value in back]}")
        pictured = pictured or (index, back)
    print(f"parameters come back to {torch.stack(errors).mean():.2f} % of their ranges in the mean, "
          f"{torch.stack(errors).max():.2f} % at worst")  # fmt: skip
    draw(folder / "design_by_surrogate.png", model, design, unseen, *pictured)  # type: ignore[misc]


def draw(path: Path, model: Surrogate, design: Tensor, unseen: object, index: int, back: Tensor) -> None:
    """The band and its design above; below the curve that was given, and that of the design found for it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    frequency = unseen.frequency.double()  # type: ignore[attr-defined]
    figure = Figure(figsize=(7, 6), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    found = model.predict(design[None], frequency)
    mean, room = found.mean[0], 1.96 * found.deviation[0]
    above.fill_between(frequency / 1e9, mean - room, mean + room, alpha=0.3, label="95 %")
    above.plot(frequency / 1e9, mean, label="designed for the band")
    above.axvspan(float(BAND[0]) / 1e9, float(BAND[-1]) / 1e9, color="0.85")
    below.plot(frequency / 1e9, unseen.reflection[index], "k", label="given")  # type: ignore[attr-defined]
    below.plot(frequency / 1e9, model.predict(back[None], frequency).mean[0], "--", label="design found for it")
    for axes in (above, below):
        axes.set_ylabel("|S11| [dB]")
        axes.grid(alpha=0.3)
        axes.legend()
    below.set_xlabel("frequency [GHz]")
    figure.savefig(path, dpi=110)
    print(path)


if __name__ == "__main__":
    torch.manual_seed(0)
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
