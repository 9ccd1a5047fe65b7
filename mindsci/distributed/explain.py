"""What `mindsci plan` prints: the layouts that fit, what each process of the best holds, why others do not fit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from mindsci.distributed.planner import Estimate, Machine, estimates
from mindsci.distributed.profile import Profile
from mindsci.distributed.table import Layout
from mindsci.errors import InputError
from mindsci.report import text_table
from mindsci.tree import Tree

SHOWN = 5
GIB = 2.0**30
HELD = ("weights", "gradients", "optimizer", "gathered", "activations", "device", "host")
HOSTED = ("host_weights", "host_gradients", "host_optimizer", "host_activations")
COLUMNS = ("data", "tensor", "pipeline", "expert", "shard", "offload", "recompute", "schedule", "micro_batches")


@runtime_checkable
class Planned(Protocol):
    """A case that can be planned."""

    parallel: Layout
    cluster: Any

    def profile(self) -> tuple[Profile, int]:
        """Returns the model's profile, and the tokens of a step."""
        ...


class Plan(Tree):
    """All layouts of a case on a number of processes, the best first."""

    model: Profile
    ranks: int
    machine: Machine
    tokens: int
    found: list[Estimate]

    @property
    def fits(self) -> bool:
        """Whether any layout fits."""
        return not self.found[0].reason

    def to_json(self) -> str:
        """Returns one JSON object: the best layout with its ledger in bytes, and how many there are."""
        best = self.found[0]
        return json.dumps(
            {
                "parameters": self.model.parameters,
                "ranks": self.ranks,
                "fits": self.fits,
                "reason": best.reason,
                "layout": best.layout.model_dump(),
                "ledger": {name: getattr(best.ledger, name) for name in (*HELD, *HOSTED)},
                "seconds": best.seconds,
                "times": best.times,
                "layouts": len(self.found),
                "layouts that fit": sum(not one.reason for one in self.found),
            },
            indent=2,
        )

    def text(self) -> str:
        """Returns the plan as text with tables."""
        best, fitting = self.found[0], [one for one in self.found if not one.reason]
        model = self.model
        lines = [
            f"{model.parameters / 1e9:.2f} billion parameters, {model.active / 1e9:.2f} of them active for a token; "
            f"{self.ranks} processes of {self.machine.memory / GIB:.1f} GiB; {self.tokens} tokens a step",
            f"{len(self.found)} layouts, {len(fitting)} fit",
            "",
        ]
        if not fitting:
            lines += ["none fits; the nearest ones:", ""]
            nearest = sorted(self.found, key=lambda one: one.ledger.device)[:SHOWN]
            return "\n".join(lines) + _table(nearest)
        lines += ["fastest that fit (seconds are a model's, to rank them):", ""]
        text = "\n".join(lines) + _table(fitting[:SHOWN])
        text += "\nwhat each process of the first holds [GiB]:\n\n" + _ledger(best)
        text += "\nits step [s]: " + ", ".join(f"{name} {value:.3g}" for name, value in best.times.items() if value)
        faster = sorted((one for one in self.found if one.reason and one.seconds < best.seconds), key=_seconds)[:SHOWN]
        if faster:
            text += "\n\nfaster, but too large:\n\n" + _table(faster)
        table = "".join(f"{key} = {json.dumps(value)}\n" for key, value in best.layout.model_dump().items())
        return text + "\n\n[parallel]\n" + table


def explain(case: Any, ranks: int, memory: float, host_memory: float = float("inf")) -> Plan:
    """Returns the plan of a case for `ranks` processes with `memory` bytes each; starts none of them."""
    if not isinstance(case, Planned):
        raise InputError(f'a case of task "{case.task}" cannot be planned; "mindsci/language_model" can')
    model, tokens = case.profile()
    machine = case.cluster.machine(memory, host_memory)
    found = estimates(model, ranks, machine, tokens=tokens, precision=getattr(case.parallel, "precision", "float32"))
    return Plan(model=model, ranks=ranks, machine=machine, tokens=tokens, found=found)


def _seconds(one: Estimate) -> float:
    return one.seconds


def _table(found: Sequence[Estimate]) -> str:
    rows = [
        [str(getattr(one.layout, name)) for name in COLUMNS]
        + [f"{one.ledger.device / GIB:.2f}", f"{one.ledger.host / GIB:.2f}", f"{one.seconds:.3g}", one.reason]
        for one in found
    ]
    return text_table([*(name.replace("_", " ") for name in COLUMNS), "device", "host", "s", "why not"], rows)


def _ledger(one: Estimate) -> str:
    names = [*HELD, *(name for name in HOSTED if getattr(one.ledger, name))]
    return text_table(
        [name.replace("_", " ") for name in names], [[f"{getattr(one.ledger, name) / GIB:.2f}" for name in names]]
    )
