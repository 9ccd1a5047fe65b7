"""Engines: one operation has a plain-torch reference, a Numba version for the CPU, a Triton version for CUDA."""

from mindsci.kernels.engine import choose_engine, set_engine

__all__ = ["choose_engine", "set_engine"]
