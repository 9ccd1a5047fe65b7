"""Classical force fields: from a `sponge.topology.Topology` to energies, in plain torch."""

from sponge.forcefield.force_field import ForceField
from sponge.forcefield.options import Options
from sponge.forcefield.sites import place_virtual_sites, spread_site_forces

__all__ = ["ForceField", "Options", "place_virtual_sites", "spread_site_forces"]
