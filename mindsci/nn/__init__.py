"""Layers that more than one domain uses."""

from mindsci.nn.experts import Experts
from mindsci.nn.moe import MixtureOfExperts, RoutingReport
from mindsci.nn.router import Router, Routing
from mindsci.nn.transformer import Transformer

__all__ = ["Experts", "MixtureOfExperts", "Router", "Routing", "RoutingReport", "Transformer"]
