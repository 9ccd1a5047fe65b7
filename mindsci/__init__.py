"""mindsci: scientific computing on PyTorch, one core of differentiable solvers and one training backend."""

__version__ = "0.1.0"
