"""Test errors of every shipped potential, recomputed from its card, against the card and against the papers."""

from __future__ import annotations

from mindsci import hub
from mindsci.errors import InputError
from mindsci.hub import PretrainedCard
from mindsci.report import Report, Row
from mindsci.tree import Tree
from mindsci.units import KCAL_PER_MOL_EV
from sponge.potentials.loading import load_potential
from sponge.tasks import PotentialTask, errors_of
from sponge.training_case import load_splits

TOLERANCE = 0.01
"""of the card's figure: the same weights on the same frames differ by rounding alone"""
MOST_FRAMES = 1000
"""training and validation frames together, in the papers' small benchmark"""


class Paper(Tree):
    """Mean absolute errors of a paper on the original labels of MD17, with 1000 training frames."""

    data: str
    energy: float
    """[kcal/mol]"""
    force: float
    """[kcal/mol/angstrom], each component"""
    source: str


SHIPPED: dict[str, Paper | None] = {
    "schnet_ethanol": None,
    "schnet_ethanol_md17": Paper(data="rmd17_ethanol", energy=0.08, force=0.39, source="SchNet"),
    "schnet_uracil": Paper(data="rmd17_uracil", energy=0.14, force=0.56, source="SchNet"),
    "schnet_aspirin": Paper(data="rmd17_aspirin", energy=0.37, force=1.35, source="SchNet"),
    "painn_ethanol": Paper(data="rmd17_ethanol", energy=0.063, force=0.230, source="PaiNN"),
    "molct_ethanol": None,
    "schnet_water": None,
}
"""What is shipped, and the figures that a model is held against: SchNet's [Schutt2018], and those of PaiNN's paper"""


def potentials(only: str = "") -> Report:
    """Test errors of every shipped potential against its card (1 %) and, where there is one, against the paper.

    Each card names its data set, labels and split; the errors are means over all frames, or force components, of that
    split. A model that is not shipped is a row that was not run. only: name of one card.
    """
    cards = {name: card for name, card in hub.find_cards(PretrainedCard).items() if card.builder.startswith("sponge.")}
    names = [name for name in dict.fromkeys([*SHIPPED, *cards]) if not only or name == only]
    if not names:
        raise InputError(f"no shipped potential is named '{only}'; there are {', '.join(dict.fromkeys(cards))}")
    rows: list[Row] = []
    for name in names:
        rows += _rows(cards[name], SHIPPED.get(name)) if name in cards else _not_there(name, SHIPPED[name])
    return Report(name="potentials", rows=rows)


def _rows(card: PretrainedCard, paper: Paper | None) -> list[Row]:
    training = card.training
    splits = load_splits(training.data, **training.options)
    found = errors_of(load_potential(pretrained=card.name), splits)
    labels = training.options.get("labels", "revised" if training.data.startswith("rmd17") else "")
    what = f"{card.name}, {training.data}{f' ({labels} labels)' if labels else ''}"
    rows = []
    for metric in card.metrics:
        if metric.split != "test" or metric.name not in found:
            continue
        measured = found[metric.name]
        kcal = found.get(f"{metric.name}_kcal")
        rows.append(
            Row(
                case=f"{what}: {metric.name} against the card",
                measured=measured,
                unit=PotentialTask.units[metric.name],
                reference=metric.value,
                gate=f"within {100 * TOLERANCE:g} % of the card",
                ok=abs(measured - metric.value) <= TOLERANCE * metric.value,
                extra={} if kcal is None else {"kcal/mol(/angstrom)": kcal},
            )
        )
    if paper is None:
        return rows
    fits = training.data == paper.data and labels == "original"
    fits &= len(splits.train) + len(splits.validation) <= MOST_FRAMES
    return rows + _against(what, paper, found if fits else None)


def _against(what: str, paper: Paper, found: dict[str, float] | None) -> list[Row]:
    """Rows against a paper; without figures, because the model is not there or was trained on other data, not run."""
    rows = []
    for name, limit in (("energy_mae", paper.energy), ("force_mae", paper.force)):
        measured = None if found is None else 1e-3 * found[name] / KCAL_PER_MOL_EV
        rows.append(
            Row(
                case=f"{what}: {name} against the paper ({paper.source})",
                measured=measured,
                unit=PotentialTask.units[f"{name}_kcal"],
                reference=limit,
                gate=f"<= {limit:g}, original labels, {MOST_FRAMES} frames",
                ok=None if measured is None else measured <= limit,
            )
        )
    return rows


def _not_there(name: str, paper: Paper | None) -> list[Row]:
    missing = Row(case=f"{name}: not shipped", measured=None, gate=f"within {100 * TOLERANCE:g} % of the card")
    return [missing] + (_against(f"{name} (not shipped)", paper, None) if paper else [])
