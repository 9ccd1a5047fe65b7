"""`mindsci validate surrogates`, `mindsci bench surrogates`: errors of shipped surrogates, approaches compared."""

from __future__ import annotations

import tempfile
import time
from typing import Any

import torch

from elec.surrogates.case import SurrogateCase
from elec.surrogates.curves import Curves, CurveSplits
from elec.surrogates.gaussian_process import GaussianProcessReflection
from elec.surrogates.surrogate import Surrogate, load_surrogate
from elec.surrogates.task import SurrogateTask, errors_of
from mindsci import hub
from mindsci.hub import PretrainedCard
from mindsci.report import Report, Row
from mindsci.train import Trainer
from mindsci.train.randomness import own_randomness, seed_step
from mindsci.train.workspace import Quiet

GATES = {"mindelec_bowtie": 1.0, "mindelec_phone": 2.0}
"""Largest mean relative error of |S11| in decibels on unseen designs [%]; MindElec says "about 2 %"."""
SHIPPED = {"rational_bowtie": "mindelec_bowtie", "rational_phone": "mindelec_phone"}
TOLERANCE = 0.01
"""of the card's figure: the same weights on the same designs differ by rounding alone"""
CPU = torch.device("cpu")
APPROACHES: dict[str, dict[str, Any]] = {
    "dense network": {"name": "elec/dense_reflection"},
    "series": {"name": "elec/series_reflection"},
    "moving zeros and poles": {"name": "elec/rational_reflection"},
}


def surrogates(only: str = "") -> Report:
    """Errors of the shipped surrogates on their test designs, against their cards and the gates; time of an answer.

    only: name of one card.
    """
    cards = hub.find_cards(PretrainedCard)
    rows: list[Row] = []
    for name, data in SHIPPED.items():
        if only in ("", name):
            rows += _rows(cards[name]) if name in cards else [_missing(name, data)]
    return Report(name="surrogates", rows=rows)


def _missing(name: str, data: str) -> Row:
    return Row(case=f"{name}: not shipped", measured=None, unit="%", gate=f"<= {GATES[data]:g} %")


def _rows(card: PretrainedCard) -> list[Row]:
    model = load_surrogate(pretrained=card.name)
    curves: CurveSplits = hub.load_dataset(card.training.data)
    found, limit = errors_of(model, curves.test), GATES[card.training.data]
    said = next(metric.value for metric in card.metrics if metric.name == "relative_error")
    error = found["relative_error"]
    what = f"{card.name}, {len(curves.test)} unseen designs"
    one, many = times(model, curves.test)
    return [
        Row(case=f"{what}: relative error of |S11| in dB", measured=error, unit="%", gate=f"<= {limit:g} %",
            ok=error <= limit),
        Row(case=f"{what}: against the card", measured=error, unit="%", reference=said,
            gate=f"within {100 * TOLERANCE:g} % of the card", ok=abs(error - said) <= TOLERANCE * said),
        Row(case=f"{what}: mean error", measured=found["absolute_error"], unit="dB"),
        Row(case=f"{what}: error of the deepest dip's frequency", measured=found["resonance_error"], unit="%"),
        Row(case=f"{what}: points within 1.96 standard deviations", measured=found["covered"], unit="%",
            reference=95.0),
        Row(case=f"{what}: one design; a design among {len(curves.test)}", measured=1e3 * one, unit="ms",
            extra={"in a batch [ms]": 1e3 * many}),
    ]  # fmt: skip


def times(model: Surrogate, curves: Curves) -> tuple[float, float]:
    """Returns the seconds for one design alone, and for one among all: the fastest of ten."""
    spent = []
    for parameters in (curves.parameters[:1], curves.parameters):
        tries = []
        for _ in range(10):
            began = time.perf_counter()
            with torch.no_grad():
                model.predict(parameters, curves.frequency)
            tries.append((time.perf_counter() - began) / len(parameters))
        spent.append(min(tries))
    return spent[0], spent[1]


def approaches(dataset: str = "mindelec_phone,mindelec_bowtie", seconds: float = 120.0, seed: int = 0) -> Report:
    """Errors of four approaches on unseen designs after the same processor time of training each.

    One network each, Muon from 3e-3 along a cosine that ends when the time is over, batches of 32; moving zeros and
    poles also with the blunt start. The Gaussian process is fitted, not trained.
    """
    rows: list[Row] = []
    for name in (part.strip() for part in dataset.split(",")):
        curves: CurveSplits = hub.load_dataset(name)
        rows.append(_fitted(name, curves))
        for approach, model in APPROACHES.items():
            for blunt in (False, True) if "poles" in approach else (False,):
                rows.append(_trained(name, approach, model, blunt=blunt, seconds=seconds, seed=seed))
    return Report(name="surrogates", rows=rows)


def _fitted(name: str, curves: CurveSplits) -> Row:
    every = torch.cat([curves.of(split).parameters for split in ("train", "validation", "test")])
    began = time.process_time()
    process = GaussianProcessReflection.fit(curves.train, low=every.amin(0).tolist(), high=every.amax(0).tolist())
    spent = time.process_time() - began
    process.calibrate(curves.validation)
    return _row(name, "Gaussian process on components", errors_of(process, curves.test), spent)


def _row(name: str, approach: str, found: dict[str, float], spent: float, **extra: Any) -> Row:
    return Row(
        case=f"{name}: {approach}", measured=found["relative_error"], unit="%",
        extra={
            "resonance [%]": found["resonance_error"], "mean error [dB]": found["absolute_error"],
            "processor time [s]": spent,
        } | extra,
    )  # fmt: skip


def _trained(name: str, approach: str, model: dict[str, Any], *, blunt: bool, seconds: float, seed: int) -> Row:
    tables: dict[str, Any] = {
        "task": "elec/surrogate",
        "seed": seed,
        "data": {"dataset": name},
        "model": model | {"options": {"members": 1}},
        "trainer": {
            "steps": 100, "clip_norm": 1.0, "validate_every": 0, "checkpoint_every": 10**6, "log_every": 10**6,
            "optimizer": {"name": "muon", "learning_rate": 3e-3},
            "schedule": {"name": "cosine", "warmup_steps": 20, "final_fraction": 1e-3},
        },
    }  # fmt: skip
    if blunt:
        tables["trainer"]["resolution_warmup"] = {"start": 0.1, "share": 0.6}
    _fit(tables)
    _, spent, _ = _fit(tables)
    tables["trainer"]["steps"] = max(int(seconds / spent * 100), 100)
    task, spent, trainer = _fit(tables)
    count = sum(parameter.numel() for parameter in task.model.parameters())
    return _row(
        name, approach + (", blunt at first" if blunt else ""), errors_of(task.model, task.curves.test), spent,
        steps=trainer.standing.step, parameters=count,
    )  # fmt: skip


def _fit(tables: dict[str, Any]) -> tuple[SurrogateTask, float, Trainer]:
    case = SurrogateCase.model_validate(tables)
    with tempfile.TemporaryDirectory() as folder, own_randomness(CPU):
        seed_step(CPU, case.seed, 0, 0)
        task = case.build(Quiet(folder))  # type: ignore[arg-type]
        trainer = Trainer(case.trainer, task, Quiet(folder), seed=case.seed)
        began = time.process_time()
        trainer.fit()
        return task, time.process_time() - began, trainer
