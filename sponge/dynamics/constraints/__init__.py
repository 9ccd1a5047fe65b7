"""Constraints of molecular dynamics: bonds of fixed length, rigid waters."""

from sponge.dynamics.constraints.constraints import Constraints
from sponge.dynamics.constraints.whole import made_whole

__all__ = ["Constraints", "made_whole"]
