"""What the core itself adds: the validation of its solvers, and a language model that tries the trainer."""

from mindsci.plugins import Plugin

plugin = Plugin(
    name="mindsci",
    summary="shared core: differentiable solvers, trainer, hub",
    tasks={"language_model": "mindsci.train.language:LanguageCase"},
    validations={"adjoints": "mindsci.solvers.validate:adjoints"},
    benchmarks={
        "boost": "mindsci.train.bench_boost:boost",
        "offload": "mindsci.distributed.bench_offload:offload",
        "scaling": "mindsci.distributed.scaling:scaling",
    },
    scalings={"experts": "mindsci.distributed.scaling_parts:experts"},
)
