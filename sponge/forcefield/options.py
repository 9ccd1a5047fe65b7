"""How the nonbonded interactions of a force field are summed."""

from __future__ import annotations

import math

from mindsci import units
from mindsci.errors import InputError
from mindsci.tree import Tree

LENNARD_JONES = ("all", "cutoff", "switch", "potential_shift", "force_shift")
COULOMB = ("all", "cutoff", "reaction_field", "shifted_force", "ewald")


class Options(Tree):
    """Choices of a `ForceField`; "all" sums every pair of an open system, whatever the cutoff."""

    cutoff: float = 9.0
    """[angstrom]"""
    lennard_jones: str = "cutoff"
    """all, cutoff, switch, potential_shift or force_shift"""
    switch_from: float | None = None
    """where the switch of the Lennard-Jones energy begins [angstrom]"""
    long_range_correction: bool = False
    """whether the Lennard-Jones energy beyond the cutoff, at uniform density, is added"""
    coulomb: str = "ewald"
    """all, cutoff, reaction_field, shifted_force or ewald"""
    dielectric: float = 78.3
    """of the continuum beyond the cutoff of the reaction field"""
    damping: float = 0.2
    """alpha of the shifted force [1/angstrom]"""
    tolerance: float = 5e-4
    """of the Ewald sum, where its coefficient or reach is not given"""
    ewald_coefficient: float | None = None
    """alpha [1/angstrom]; None: sqrt(-ln(2 tolerance)) / cutoff, as OpenMM chooses it"""
    ewald_reach: float | None = None
    """longest wave vector [1/angstrom]; None: 2 alpha sqrt(-ln(2 tolerance)), so that the Gaussian factor of both sums
    has fallen to twice the tolerance where they end"""
    coulomb_constant: float = units.COULOMB_EV_ANGSTROM
    """energy of two elementary charges 1 angstrom apart [eV angstrom]; force fields bring constants of their own"""

    @property
    def alpha(self) -> float:
        """Coefficient of the Ewald sum [1/angstrom]."""
        if self.ewald_coefficient is not None:
            return self.ewald_coefficient
        return math.sqrt(-math.log(2.0 * self.tolerance)) / self.cutoff

    @property
    def reach(self) -> float:
        """Length of the longest wave vector of the Ewald sum [1/angstrom]."""
        if self.ewald_reach is not None:
            return self.ewald_reach
        return 2.0 * self.alpha * math.sqrt(-math.log(2.0 * self.tolerance))


def check(options: Options) -> None:
    """Raises InputError for options that do not name a sum, or do not go together."""
    for name, value, known in (
        ("lennard_jones", options.lennard_jones, LENNARD_JONES),
        ("coulomb", options.coulomb, COULOMB),
    ):
        if value not in known:
            raise InputError(f"{name} = {value!r} is unknown; use one of {', '.join(known)}")
    if not options.cutoff > 0:
        raise InputError(f"cutoff = {options.cutoff} angstrom; use a positive one")
    if not 0 < options.tolerance < 0.5:
        raise InputError(f"tolerance = {options.tolerance}; use a number between 0 and 0.5")
    begin = options.switch_from
    if options.lennard_jones == "switch" and (begin is None or not 0 < begin < options.cutoff):
        raise InputError(f"switch_from = {begin}; a switch begins between 0 and the cutoff, {options.cutoff} angstrom")
    if options.long_range_correction and options.lennard_jones not in ("cutoff", "switch"):
        raise InputError(
            f'a long-range correction does not go with lennard_jones = "{options.lennard_jones}"; use cutoff or switch'
        )
    if "all" in (options.lennard_jones, options.coulomb) and options.lennard_jones != options.coulomb:
        raise InputError('"all" concerns both sums; use it for lennard_jones and coulomb, or for neither')
