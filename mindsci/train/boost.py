"""One switch for speed: `boost = "O0"` to `"O3"` sets the keys of a training that its case leaves open.

What a level turns on is a key of the case like any other, so that a run's folder shows it, and a case may set it
otherwise. O1 changes numbers by rounding alone; O2 keeps the accuracy within the noise between seeds; O3 trades some of
it, within the bound that `mindsci bench boost` measures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from mindsci import plugins
from mindsci.tree import Tree

if TYPE_CHECKING:
    from mindsci.train.case import TrainingCase

Level = Literal["O0", "O1", "O2", "O3"]
Part = Literal["data", "network", "communication", "strategy", "optimizer"]
PROMISES = {1: "rounding", 2: "seed noise", 3: "bound"}
AnyCase = TypeVar("AnyCase", bound="TrainingCase")


def _always(case: Any) -> str | None:
    return None


class Acceleration(Tree):
    """A key of a training case that makes it faster."""

    key: str
    """such as "trainer.optimizer.name\""""
    part: Part
    on: Mapping[int, Any]
    """its value from each level on: {1: "fused"}; a function takes the case. By hand: the level whose promise it has"""
    what: str
    off: Any = None
    """its value below, where that is not the key's default"""
    by_hand: str = ""
    """why no level turns it on, though a case may: what `mindsci bench boost --ablate` found"""
    illegal: Callable[[Any], str | None] = _always
    """why a case cannot have it, None where it can"""

    @property
    def level(self) -> int:
        """The first level that turns it on."""
        return min(self.on)


class Decision(Tree):
    """What becomes of an acceleration in a case."""

    acceleration: Acceleration
    on: bool
    value: Any
    """what the key becomes; None leaves its default"""
    reason: str


def decide(case: TrainingCase) -> list[Decision]:
    """Returns what becomes of each acceleration that the case knows."""
    return [_decision(case, one) for one in case.accelerations]


def boosted(case: AnyCase) -> AnyCase:
    """Returns the case with the keys that its level of boost sets; done again, it changes nothing."""
    settings = {one.acceleration.key: one.value for one in decide(case) if one.value is not None}
    if not settings:
        return case
    tables = case.model_dump(mode="json", exclude_unset=True)
    for key, value in settings.items():
        *parents, last = key.split(".")
        node = tables
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = value
    return type(case).model_validate(tables)


def _decision(case: TrainingCase, one: Acceleration) -> Decision:
    level = int(case.boost[1])
    values = [one.on[first] for first in sorted(one.on) if first <= level]
    if _is_set(case, one.key):
        return Decision(acceleration=one, on=False, value=None, reason="the case sets it itself")
    why_not = one.illegal(case)
    if why_not is not None:
        return Decision(acceleration=one, on=False, value=None, reason=why_not)
    if one.by_hand:
        return Decision(acceleration=one, on=False, value=one.off, reason=f"by hand: {one.by_hand}")
    if not values:
        return Decision(acceleration=one, on=False, value=one.off, reason=f"from O{one.level} on")
    value = values[-1](case) if callable(values[-1]) else values[-1]
    return Decision(acceleration=one, on=True, value=value, reason=one.what)


def _is_set(case: Any, key: str) -> bool:
    node = case
    for part in key.split("."):
        names = node.keys() if isinstance(node, Mapping) else node.model_fields_set
        if part not in names:
            return False
        node = node[part] if isinstance(node, Mapping) else getattr(node, part)
    return True


def explain(case: TrainingCase) -> str:
    """Returns a table: each acceleration, whether the case has it, its value, its promise, and why."""
    from mindsci.report import text_table

    rows = [
        [
            one.acceleration.part,
            one.acceleration.key,
            "on" if one.on else "off",
            "" if one.value is None else str(one.value),
            PROMISES[one.acceleration.level],
            one.reason,
        ]
        for one in decide(case)
    ]
    return f'boost = "{case.boost}"\n\n' + text_table(["part", "key", "", "value", "promise", "why"], rows)


def _second_order(case: Any) -> str | None:
    return "the loss holds derivatives of the model" if case.task_type.second_order else None


def _alone(case: Any) -> str | None:
    from mindsci.runs import process_count

    return "one process has nobody to talk to" if process_count() == 1 else None


def _spread(case: Any) -> str | None:
    """Why keys that need whole weights on each process, in the precision of the trainer, are out."""
    layout = case.parallel
    if layout is None or not (layout.model_fields_set - {"data", "expert", "recompute", "micro_batches"}):
        return None
    return "[parallel] spreads the model"


def _apart(case: Any) -> str | None:
    return _alone(case) or _spread(case)


def _local(case: Any) -> str | None:
    every = case.trainer.validate_every % LOCAL_STEPS or case.trainer.checkpoint_every % LOCAL_STEPS
    if case.parallel is not None and getattr(case.parallel, "expert", 1) > 1:
        return "[parallel] gives each process experts of its own"
    return _apart(case) or (f"validations and checkpoints are not every {LOCAL_STEPS} steps" if every else None)


def _convolves(case: Any) -> str | None:
    return None if case.task_type.convolutions else "the model has no convolutions"


def _offers(method: str, lacking: str) -> Callable[[Any], str | None]:
    return lambda case: None if case.task_type.offers(method) else f"the task has no {lacking}"


def _items(case: Any) -> str | None:
    return _spread(case) or _offers("item_losses", "losses of single items")(case)


def _shortest(case: Any) -> float:
    """Steps on coarser items teach less of what the whole ones hold: fewer can be left out."""
    return 0.7 if case.task_type.offers("coarsened") else 0.5


def _decay(case: Any) -> float:
    """An average over the last twentieth of the steps, and over a thousand at most."""
    return min(1.0 - 20.0 / (case.trainer.schedule_scale * case.trainer.steps), 0.999)


def _too_short(case: Any) -> str | None:
    return None if case.trainer.steps >= 200 else "too few steps for an average of the last ones"


LOCAL_STEPS = 10
ACCELERATIONS = (
    Acceleration(
        key="trainer.optimizer.implementation", part="optimizer", on={1: "auto"}, off="loop",
        what="torch's fused kernel takes the step of all parameters at once",
    ),
    Acceleration(
        key="trainer.prefetch", part="data", on={1: "auto"}, off="never",
        what="a thread makes the next batch while a GPU computes",
    ),
    Acceleration(
        key="trainer.compile", part="network", on={1: "auto"}, illegal=_second_order,
        what="torch fuses what a GPU computes",
    ),
    Acceleration(
        key="trainer.channels_last", part="network", on={1: True}, illegal=_convolves,
        what="the layout that convolutions want",
    ),
    Acceleration(
        key="trainer.communication.views", part="communication", on={1: True}, off=False, illegal=_alone,
        what="gradients lie in the buckets that travel",
    ),
    Acceleration(
        key="trainer.communication.gradients", part="communication", on={2: "bfloat16"}, illegal=_apart,
        what="half the bytes travel",
    ),
    Acceleration(
        key="trainer.communication.local_steps", part="communication", on={3: LOCAL_STEPS}, illegal=_local,
        what="weights travel every few steps alone",
    ),
    Acceleration(
        key="trainer.schedule_scale", part="strategy", on={2: 0.75, 3: _shortest},
        what="a shorter schedule, for what the rest gains in a step",
    ),
    Acceleration(
        key="trainer.ema_decay", part="strategy", on={2: _decay}, illegal=_too_short,
        by_hand="no gain beside a schedule that ends near zero",
        what="averaged weights are as good as those of a longer schedule",
    ),
    Acceleration(
        key="trainer.optimizer.name", part="optimizer", on={2: "muon"}, illegal=_spread,
        what="orthogonalised steps need fewer of them",
    ),
    Acceleration(
        key="trainer.optimizer.centralise", part="optimizer", on={2: True}, by_hand="no gain on SchNet",
        what="gradients without their mean",
    ),
    Acceleration(
        key="trainer.resolution_warmup", part="strategy", on={2: {}}, illegal=_offers("coarsened", "coarser items"),
        what="coarser items early on",
    ),
    Acceleration(
        key="trainer.batch_warmup", part="strategy", on={3: {}}, by_hand="what a step saves, it also learns less",
        what="smaller batches early on",
    ),
    Acceleration(
        key="trainer.selective", part="strategy", on={3: {}}, illegal=_items,
        by_hand="the items left out are missed",
        what="half the items are differentiated, those of the largest loss",
    ),
)  # fmt: skip
"""what every training knows; a case adds its own"""


def _no_engine(case: Any) -> str | None:
    has = hasattr(plugins.get("models", case.model.name), "engine")
    return None if has else f"{case.model.name} has one engine, that of torch"


MODEL_ENGINE = Acceleration(
    key="model.engine", part="network", on={1: "auto"}, off="reference", illegal=_no_engine,
    what="kernels that give the model and its derivatives without a tape",
)  # fmt: skip
"""for cases whose model may have several engines"""
