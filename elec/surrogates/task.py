"""Training a surrogate on reflection curves: what the trainer knows of it."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from elec.surrogates.curves import Curves, CurveSplits
from elec.surrogates.rational import DECIBELS
from elec.surrogates.surrogate import NetworkSurrogate, Surrogate
from mindsci.train import Batches, Task
from mindsci.tree import Tree

SOFTEST = 0.1
"""|S11| that is added to both curves where a batch is coarsest"""
COARSEST = 4
"""every which frequency is kept there"""


class CurveBatch(Tree):
    """Some designs."""

    parameters: Float[Tensor, "designs parameters"]
    reflection: Float[Tensor, "designs frequencies"]
    """[dB]"""
    design: Int[Tensor, " designs"]
    """which of the split they are"""
    share: Float[Tensor, " designs"]
    """how coarse they are: see `SurrogateTask.coarsened`"""


class SurrogateTask(Task):
    """A surrogate and curves; loss = mean over members and designs of the square of the relative error.

    The relative error of a design is the root mean square error of its curve in decibels over the root mean square of
    the curve.
    """

    units: ClassVar[dict[str, str]] = {"relative_error": "%", "absolute_error": "dB", "resonance_error": "%"}
    model: NetworkSurrogate

    def __init__(self, model: NetworkSurrogate, curves: CurveSplits, *, batch_size: int, shuffle_seed: int = 0) -> None:
        self.model, self.curves = model, curves
        self.batch_size, self.shuffle_seed = batch_size, shuffle_seed

    def batches(self, split: str) -> Batches:
        """Returns the batches of a split."""
        curves, train = self.curves.of(split), split == "train"
        items = {
            "parameters": curves.parameters,
            "reflection": curves.reflection,
            "design": torch.arange(len(curves)),
            "share": torch.ones(len(curves)),
        }
        size = min(self.batch_size if train else 256, len(curves))
        return Batches(
            items, size, lambda rows, indices: CurveBatch(**{name: value[indices] for name, value in rows.items()}),
            shuffle_seed=self.shuffle_seed if train else None, drop_last=train,
        )  # fmt: skip

    def coarsened(self, batch: CurveBatch, share: float) -> CurveBatch:
        """Returns a batch with its share noted: every fourth frequency, and dips that are blunt.

        Both curves are compared as 20 log10 (|S11| + e), with e falling from 0.1 to 0 as the share rises to 1. A narrow
        dip in decibels pulls at a curve that dips elsewhere only once the two overlap; a blunt one is wide.
        """
        return CurveBatch(
            parameters=batch.parameters,
            reflection=batch.reflection,
            design=batch.design,
            share=torch.full_like(batch.share, share),
        )

    def loss(self, batch: CurveBatch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Returns the loss, and the errors of the members' mean: relative [%], absolute [dB], of the resonance [%]."""
        losses, found, truth, frequency = self._compared(batch)
        with torch.no_grad():
            metrics = errors(found.mean(0), truth, frequency)
        return losses.mean(), metrics

    def item_losses(self, batch: CurveBatch) -> Float[Tensor, " designs"]:
        """Returns the loss of each design."""
        return self._compared(batch)[0]

    def choose(self, batch: CurveBatch, indices: Int[Tensor, " chosen"]) -> CurveBatch:
        """Returns some designs of a batch."""
        return CurveBatch(
            parameters=batch.parameters[indices],
            reflection=batch.reflection[indices],
            design=batch.design[indices],
            share=batch.share[indices],
        )

    def finish(self) -> None:
        """Calibrates the uncertainty on the validation designs."""
        validation = self.curves.validation
        parameters = next(self.model.parameters())
        self.model.calibrate(
            Curves(
                parameters=validation.parameters.to(parameters),
                frequency=validation.frequency.to(parameters.device),
                reflection=validation.reflection.to(parameters),
            )
        )

    def _compared(self, batch: CurveBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The loss of each design, the members' curves, the truth, and the frequencies that the batch keeps."""
        frequency = self.curves.train.frequency.to(batch.parameters.device)
        truth, share = batch.reflection, float(batch.share[0])
        if share < 1.0:
            # Which frequencies differs from batch to batch, and depends on nothing but its designs.
            first = int(batch.design.sum()) % COARSEST
            frequency, truth = frequency[first::COARSEST], truth[:, first::COARSEST]
        found = self.model(batch.parameters, frequency)
        soft = SOFTEST * (1.0 - share)
        given, wanted = (_blunt(curve, soft) if soft > 0 else curve for curve in (found, truth))
        losses = (given - wanted).square().mean(-1) / wanted.square().mean(-1)
        return losses.mean(0), found, truth, frequency


def _blunt(decibels: Tensor, soft: float) -> Tensor:
    """20 log10 (|S| + soft)."""
    return 2.0 * DECIBELS * ((decibels / (2.0 * DECIBELS)).exp() + soft).log()


def errors(
    mean: Float[Tensor, "designs frequencies"],
    truth: Float[Tensor, "designs frequencies"],
    frequency: Float[Tensor, " frequencies"],
) -> dict[str, Tensor]:
    """Returns means over designs: relative error [%], absolute error [dB], error of the deepest dip's place [%]."""
    error = mean - truth
    dips = [frequency[curve.argmin(1)] for curve in (mean, truth)]
    return {
        "relative_error": 100.0 * (error.norm(dim=1) / truth.norm(dim=1)).mean(),
        "absolute_error": error.abs().mean(),
        "resonance_error": 100.0 * (dips[0] / dips[1] - 1.0).abs().mean(),
    }


@torch.no_grad()
def errors_of(model: Surrogate, curves: Curves) -> dict[str, float]:
    """Returns the errors of a surrogate over designs, and the share of points within 1.96 standard deviations [%]."""
    found = model.predict(curves.parameters, curves.frequency)
    within = ((found.mean - curves.reflection).abs() <= 1.96 * found.deviation).double().mean()
    named = {name: float(value) for name, value in errors(found.mean, curves.reflection, curves.frequency).items()}
    return named | {"covered": 100.0 * float(within)}
