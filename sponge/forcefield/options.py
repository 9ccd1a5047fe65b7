"""How the nonbonded interactions of a force field are summed."""

from __future__ import annotations

import math

from mindsci import units
from mindsci.errors import InputError
from mindsci.tree import Tree

LENNARD_JONES = ("all", "cutoff", "switch", "potential_shift", "force_shift", "pme")
COULOMB = ("all", "cutoff", "reaction_field", "shifted_force", "ewald", "pme")
SOLVENTS = ("hct", "obc1", "obc2", "gbn", "gbn2")


class Options(Tree):
    """Choices of a `ForceField`; "all" sums every pair of an open system, whatever the cutoff."""

    cutoff: float = 9.0
    """[angstrom]"""
    lennard_jones: str = "cutoff"
    """all, cutoff, switch, potential_shift, force_shift or pme: "pme" sums the dispersion of all distances, geometric
    means of its coefficients standing for the force field's rule beyond the cutoff"""
    switch_from: float | None = None
    """where the switch of the Lennard-Jones energy begins [angstrom]"""
    long_range_correction: bool = False
    """whether the Lennard-Jones energy beyond the cutoff, at uniform density, is added"""
    coulomb: str = "ewald"
    """all, cutoff, reaction_field, shifted_force, ewald or pme"""
    dielectric: float = 78.3
    """of the continuum beyond the cutoff of the reaction field"""
    damping: float = 0.2
    """alpha of the shifted force [1/angstrom]"""
    tolerance: float = 1e-4
    """of "ewald" and "pme": root mean square error of the forces between charges over their root mean square, in water;
    chooses what is not given of the next four. An `ewaldErrorTolerance` t of OpenMM gives the alpha of 4 t here"""
    ewald_coefficient: float | None = None
    """alpha [1/angstrom]; None: sqrt(-ln(tolerance / 2)) / cutoff"""
    ewald_reach: float | None = None
    """longest wave vector of "ewald" [1/angstrom]; None: 2 alpha sqrt(-ln(tolerance / 2)), so that the Gaussian factor
    of both sums has fallen as far where they end"""
    spline_order: int | None = None
    """of "pme", 4 to 6; None: 5, and 6 for a tolerance below 1e-5"""
    grid: tuple[int, int, int] | None = None
    """points of "pme" along each vector of the cell; None: as many as the cell needs at each evaluation, so that the
    energy jumps by about the tolerance where the cell changes their number: fix it with `with_grid` for a barostat"""
    implicit_solvent: str | None = None
    """hct, obc1, obc2, gbn or gbn2, with coulomb = "all": see `sponge.forcefield.born`"""
    solvent_dielectric: float = 78.5
    """of the implicit solvent"""
    salt: float = 0.0
    """of ions of one charge in the implicit solvent [mol/l]"""
    surface_tension: float = 0.0
    """energy of the surface that the implicit solvent touches [eV/angstrom^2]; 2.3417e-4 is Amber's 0.0054 kcal/mol"""
    coulomb_constant: float = units.COULOMB_EV_ANGSTROM
    """energy of two elementary charges 1 angstrom apart [eV angstrom]; force fields bring constants of their own"""

    @property
    def alpha(self) -> float:
        """Coefficient of the Ewald sum [1/angstrom]."""
        if self.ewald_coefficient is not None:
            return self.ewald_coefficient
        return math.sqrt(-math.log(0.5 * self.tolerance)) / self.cutoff

    @property
    def reach(self) -> float:
        """Length of the longest wave vector of the Ewald sum [1/angstrom]."""
        if self.ewald_reach is not None:
            return self.ewald_reach
        return 2.0 * self.alpha * math.sqrt(-math.log(0.5 * self.tolerance))

    @property
    def splits(self) -> bool:
        """Whether Coulomb's sum is split into a real-space part and one over waves."""
        return self.coulomb in ("ewald", "pme")


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
    if options.implicit_solvent not in (None, *SOLVENTS):
        raise InputError(
            f"implicit_solvent = {options.implicit_solvent!r} is unknown; use one of {', '.join(SOLVENTS)}"
        )
    if options.implicit_solvent is not None and options.coulomb != "all":
        raise InputError(f'implicit_solvent does not go with coulomb = "{options.coulomb}"; use "all" for both sums')
    if not options.salt >= 0 or not options.solvent_dielectric >= 1:
        raise InputError(
            f"salt = {options.salt} mol/l and solvent_dielectric = {options.solvent_dielectric}; use 0 or more, and 1 "
            "or more"
        )
    if options.spline_order not in (None, 4, 5, 6):
        raise InputError(f"spline_order = {options.spline_order}; use 4, 5 or 6")
    if options.grid is not None and min(options.grid) < 6:
        raise InputError(f"grid = {options.grid}; use 6 points or more along each vector of the cell")
    begin = options.switch_from
    if options.lennard_jones == "switch" and (begin is None or not 0 < begin < options.cutoff):
        raise InputError(f"switch_from = {begin}; a switch begins between 0 and the cutoff, {options.cutoff} angstrom")
    if options.long_range_correction and options.lennard_jones not in ("cutoff", "switch"):
        raise InputError(
            f'a long-range correction does not go with lennard_jones = "{options.lennard_jones}"; use cutoff or switch'
        )
    if options.lennard_jones == "pme" and options.coulomb != "pme":
        raise InputError('lennard_jones = "pme" uses the grid of the charges; use coulomb = "pme" with it')
    if "all" in (options.lennard_jones, options.coulomb) and options.lennard_jones != options.coulomb:
        raise InputError('"all" concerns both sums; use it for lennard_jones and coulomb, or for neither')
