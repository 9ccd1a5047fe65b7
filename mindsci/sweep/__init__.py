"""Sweeps: a case at many values of its keys, each point a run in its own folder, on as many workers as there are."""

from mindsci.sweep.data import Column, SweepData, read
from mindsci.sweep.parameters import Parameter, parameter, parse
from mindsci.sweep.points import Plan, plan
from mindsci.sweep.running import Swept, sweep

__all__ = ["Column", "Parameter", "Plan", "SweepData", "Swept", "parameter", "parse", "plan", "read", "sweep"]
