"""Splitting methods: advance a system by flows that each move one part of the state while the rest is held.

The order is written as in the literature: "BAB" is velocity Verlet, "BAOAB" the Langevin scheme of
[Leimkuhler2013], "HEP" the Yee scheme with a probe.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol, runtime_checkable

from mindsci.errors import InputError
from mindsci.tree import Tree


@runtime_checkable
class Flow(Protocol):
    """A map (state, t, dt) -> state that never changes its argument.

    `t` is the time at which the flow starts. With -dt, from the state it returned, it gives its argument
    back; a flow that cannot (absorption, noise) says `reversible = False`.
    """

    @property
    def reversible(self) -> bool: ...

    def __call__(self, state: Any, t: float, dt: float, /) -> Any: ...


class Splitting(Tree):
    """A flow made of flows, in the order of the letters; each letter advances by dt over its count.

    Each letter keeps its own time: in "BAB" the second B starts at t + dt/2. With dt < 0 the letters run in
    reverse, so that the splitting undoes itself to rounding if every flow does.
    """

    flows: dict[str, Flow]
    order: str

    def __post_init__(self) -> None:
        unknown = sorted(set(self.order) - set(self.flows))
        unused = sorted(set(self.flows) - set(self.order))
        if unknown or unused or not self.order:
            raise InputError(
                f"order '{self.order}' and flows {sorted(self.flows)} differ: "
                f"no flow for {unknown}, not in the order {unused}; name each flow by one letter of the order"
            )

    @property
    def reversible(self) -> bool:
        return not self.irreversible

    @property
    def irreversible(self) -> list[str]:
        """Names of the flows that -dt does not undo."""
        return [f"{k} ({type(f).__name__})" for k, f in self.flows.items() if not f.reversible]

    def __call__(self, state: Any, t: float, dt: float) -> Any:
        count = Counter(self.order)
        done = dict.fromkeys(count, 0)
        for letter in self.order if dt >= 0 else reversed(self.order):
            share = dt / count[letter]
            state = self.flows[letter](state, t + done[letter] * share, share)
            done[letter] += 1
        return state
