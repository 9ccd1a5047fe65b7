"""Reader of GROMACS's topologies (.top, .itp) and coordinates (.gro)."""

from sponge.builders.gromacs.reader import from_gromacs

__all__ = ["from_gromacs"]
