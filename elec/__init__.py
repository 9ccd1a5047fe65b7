"""Electromagnetics: geometry from CAD files, a Yee grid, differentiable FDTD, S-parameters.

Import what you use: `from elec.fdtd import yee_step`, `from elec.network import resonances`.
"""
