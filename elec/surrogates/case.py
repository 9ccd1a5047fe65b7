"""The case of task "elec/surrogate": a family of designs and a learned model of their reflection."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator

from elec.surrogates.curves import Curves, CurveSplits
from elec.surrogates.surrogate import Surrogate, load_surrogate
from elec.surrogates.swept import read_sweep, split_sweep
from elec.surrogates.task import SurrogateTask
from mindsci import hub, plugins
from mindsci.config import InputFile, Table
from mindsci.errors import InputError, nearest
from mindsci.kernels import set_engine
from mindsci.runs import Run
from mindsci.train import Task, TrainingCase
from mindsci.train.boost import ACCELERATIONS, MODEL_ENGINE, Acceleration


class CurvesTable(Table):
    """`[data]`: a data set of curves by name, or the sweep.h5 of a sweep with the shares that validate and test."""

    dataset: str | None = None
    sweep: InputFile | None = None
    validation: float = Field(default=0.1, gt=0, lt=1)
    test: float = Field(default=0.1, gt=0, lt=1)
    split_seed: int = Field(default=0, ge=0)
    """draws which points of a sweep these are"""
    batch_size: int = Field(default=32, ge=1)

    @model_validator(mode="after")
    def _one_source(self) -> CurvesTable:
        if (self.dataset is None) == (self.sweep is None):
            raise InputError('give one of dataset = "mindelec_phone" and sweep = "runs/case_sweep/sweep.h5"')
        return self

    @property
    def known_as(self) -> str:
        """What the data are called in the log."""
        return self.dataset or str(self.sweep)

    def load(self) -> CurveSplits:
        """Returns its splits."""
        if self.sweep is not None:
            curves = read_sweep(self.sweep)
            return split_sweep(curves, validation=self.validation, test=self.test, seed=self.split_seed)
        assert self.dataset is not None
        splits = hub.load_dataset(self.dataset)
        if not isinstance(splits, CurveSplits):
            raise InputError(f"'{self.dataset}' is no data set of reflection curves; use mindelec_bowtie")
        return splits


class SurrogateTable(Table):
    """`[model]`: a surrogate of a plugin, and its options in `[model.options]`."""

    name: str = "elec/rational_reflection"
    options: dict[str, Any] = {}
    engine: Literal["auto", "reference", "numba"] | None = None
    """what computes the curves of a model that has several: "reference" is torch's tape"""


class SurrogateCase(TrainingCase):
    """The case of task "elec/surrogate"."""

    task_type: ClassVar[type[Task]] = SurrogateTask
    accelerations: ClassVar[tuple[Acceleration, ...]] = (*ACCELERATIONS, MODEL_ENGINE)
    data: CurvesTable
    model: SurrogateTable = SurrogateTable()

    def build(self, run: Run) -> SurrogateTask:
        """Returns the task, with a new model for the ranges of all designs of the data set."""
        curves = self.data.load()
        model = build_model(self.model, curves)
        run.log(
            f"{self.data.known_as}: {len(curves.train)} training, {len(curves.validation)} validation, "
            f"{len(curves.test)} test designs of {curves.train.parameters.shape[1]} parameters"
        )
        return SurrogateTask(model, curves, batch_size=self.data.batch_size, shuffle_seed=self.seed)

    def draw(self, run: Run) -> None:
        """Draws predicted beside true curves of test designs: curves.png."""
        with run.writing("curves.png") as temporary:
            plot_curves(temporary, load_surrogate(model=run.folder / "model.toml"), self.data.load().test)

    def card(self) -> dict[str, Any]:
        """Returns title, citation, domain and data of a card of the trained surrogate."""
        if self.data.dataset is None:
            raise InputError(
                "a model on a card names the card of its data, and this one was trained on a sweep: write the curves "
                "as datasets/mindelec_phone has them, with a card.toml, and train on that"
            )
        data = hub.find_card(hub.DatasetCard, self.data.dataset)
        return {
            "title": f"{plugins.get('models', self.model.name).__name__} for {data.title}",
            "citation": data.citation,
            "domain": f"designs within the ranges of {data.title}, at its frequencies; a design outside is refused",
            "check": "mindsci validate surrogates",
            "data": data.name,
            "options": {},
        }


def build_model(table: SurrogateTable, curves: CurveSplits) -> Surrogate:
    """Returns a new surrogate for the ranges and frequencies of curves."""
    builder = plugins.get("models", table.name)
    known = [name for name in inspect.signature(builder).parameters if name not in ("low", "high", "frequency_max")]
    for name in table.options:
        if name not in known:
            raise InputError(
                f"model.options.{name}: unknown option of {table.name}{nearest(name, known)}; known: {known}"
            )
    every = torch.cat([part.parameters for part in (curves.train, curves.validation, curves.test)])
    found = builder(
        low=every.amin(0).tolist(),
        high=every.amax(0).tolist(),
        frequency_max=float(curves.train.frequency.max()),
        **table.options,
    )
    if not isinstance(found, Surrogate):
        raise InputError(f'model.name = "{table.name}" is no surrogate; use "elec/rational_reflection"')
    set_engine(found, table.engine, table.name)
    return found


def plot_curves(path: Path, model: Surrogate, curves: Curves, count: int = 6) -> None:
    """Draws true and predicted curves of designs spread evenly from the best predicted one to the worst."""
    from matplotlib.figure import Figure

    with torch.no_grad():
        found = model.predict(curves.parameters, curves.frequency)
    errors = (found.mean - curves.reflection).norm(dim=1) / curves.reflection.norm(dim=1)
    order = errors.argsort()
    chosen = order[torch.linspace(0, len(order) - 1, min(count, len(order))).round().long()]
    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = figure.subplots(2, -(-len(chosen) // 2), sharex=True, squeeze=False).ravel()
    gigahertz = (1e-9 * curves.frequency).numpy()
    for axis, design in zip(axes, chosen, strict=False):
        mean, spread = found.mean[design].numpy(), 1.96 * found.deviation[design].numpy()
        axis.plot(gigahertz, curves.reflection[design].numpy(), color="black", linewidth=1.5, label="solver")
        axis.plot(gigahertz, mean, color="tab:orange", linewidth=1.0, linestyle="--", label="surrogate")
        axis.fill_between(gigahertz, mean - spread, mean + spread, color="tab:orange", alpha=0.3, linewidth=0)
        values = ", ".join(f"{value:g}" for value in curves.parameters[design].tolist())
        axis.set_title(f"({values}): {100 * float(errors[design]):.2g} %", fontsize=9)
        axis.set_xlabel("frequency [GHz]")
        axis.set_ylabel("|S11| [dB]")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=110, format="png")
