"""Differentiable solvers that at least two domains use."""

from mindsci.solvers.adjoint import Checkpoint, Direct, Fused, Reversible
from mindsci.solvers.rollout import rollout
from mindsci.solvers.splitting import Flow, Splitting

__all__ = ["Checkpoint", "Direct", "Flow", "Fused", "Reversible", "Splitting", "rollout"]
