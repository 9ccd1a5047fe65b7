"""Barostats: the size of each cell as a variable of its own."""

from sponge.dynamics.barostats.bodies import Bodies
from sponge.dynamics.barostats.cell_rescaling import CellRescaling
from sponge.dynamics.barostats.coupling import at_pressure
from sponge.dynamics.barostats.martyna import Pistons, martyna_tobias_klein
from sponge.dynamics.barostats.monte_carlo import MonteCarloBarostat

__all__ = ["Bodies", "CellRescaling", "MonteCarloBarostat", "Pistons", "at_pressure", "martyna_tobias_klein"]
