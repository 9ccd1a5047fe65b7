"""What the core itself adds: the validation of its solvers."""

from mindsci.plugins import Plugin

plugin = Plugin(
    name="mindsci",
    summary="shared core: differentiable solvers, trainer, hub",
    validations={"adjoints": "mindsci.solvers.validate:adjoints"},
)
