"""Barostats: the volume of each system as a variable of its own."""

from sponge.dynamics.barostats.bodies import Bodies

__all__ = ["Bodies"]
