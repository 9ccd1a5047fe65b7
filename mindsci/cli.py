"""The command line. Each verb parses its arguments and calls the library.

Exit status: 0 done, 1 a gate falls short or a point of a sweep failed, 2 the user's error or a run that could not
start, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mindsci import cli_sweep
from mindsci.errors import InputError, UnknownNameError, UserError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Scientific computing on PyTorch: electromagnetics (elec), molecular dynamics (sponge), one core.",
)

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
EXTRA_OPTIONS = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.callback()
def options(debug: Debug = False) -> None:
    """Reads the options that stand before the verb; `main` looks for --debug itself."""


@app.command()
def run(
    case: Annotated[Path, typer.Argument(help="Case file (TOML).")],
    out: Annotated[Path | None, typer.Option(help="Folder of the run; runs/<case name> unless given.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Override a value: table.key=value.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1.")] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in its folder.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the case; print it with its defaults and what a run would take.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Simulate or train, as the case's `task` says."""
    from mindsci import config, runs

    loaded = config.load_case(case, settings)
    if dry_run:
        print(config.to_toml(loaded), end="")
        report = [line for finding in loaded.preflight(out, checked_device(device)) for line in finding.splitlines()]
        print("".join(f"# {line}\n" for line in report), end="")  # comments: what is printed loads as a case
        faults = [line for line in report if line.startswith("error: ")]
        if faults:
            raise InputError(f"the case cannot run: {len(faults)} faults, marked 'error' above")
        return
    folder = out or runs.default_folder(case)
    runs.execute(loaded, folder, resume=resume, device=checked_device(device))
    print(f"results are in {folder}")


@app.command()
def plan(
    case: Annotated[Path, typer.Argument(help="Case file (TOML) of a training that can be planned.")],
    ranks: Annotated[int, typer.Option(help="Processes, one for each device.", min=1)],
    memory: Annotated[str, typer.Option(help="Memory of each device, such as 32GiB.")],
    host_memory: Annotated[str, typer.Option(help="Memory of the host for each process; no limit unless given.")] = "",
    settings: Annotated[list[str] | None, typer.Option("--set", help="Override a value: table.key=value.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: Debug = False,
) -> None:
    """Find how to spread a training over processes, and what each of them holds; nothing is started."""
    from mindsci import config, units
    from mindsci.distributed.explain import explain

    loaded = config.load_case(case, settings, resolve=False)
    host = units.parse(host_memory, "byte") if host_memory else float("inf")
    made = explain(loaded, ranks, units.parse(memory, "byte"), host)
    print(made.to_json() if as_json else made.text())
    if not made.fits:
        raise typer.Exit(1)


app.command()(cli_sweep.sweep)

boost_app = typer.Typer(no_args_is_help=True, help="What `boost` does for the speed of a training.")
app.add_typer(boost_app, name="boost")


@boost_app.command("explain")
def boost_explain(
    case: Annotated[Path, typer.Argument(help="Case file (TOML) of a training.")],
    settings: Annotated[list[str] | None, typer.Option("--set", help="Override a value: boost=O2.")] = None,
    debug: Debug = False,
) -> None:
    """Print what the case's level of boost turns on, and why the rest is off."""
    from mindsci import config
    from mindsci.train import TrainingCase
    from mindsci.train.boost import explain

    loaded = config.load_case(case, settings, resolve=False)
    if not isinstance(loaded, TrainingCase):
        raise InputError(f'a case of task "{loaded.task}" trains nothing, so there is nothing to boost')
    print(explain(loaded), end="")


@app.command()
def plugins(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """List the installed plugins and what they add."""
    from mindsci import plugins as registry

    found = registry.discover()
    if as_json:
        print(
            json.dumps({name: {kind: dict(getattr(p, kind)) for kind in registry.KINDS} for name, p in found.items()})
        )
        return
    for name, plugin in found.items():
        print(f"{name}: {plugin.summary}")
        for kind in registry.KINDS:
            for item, target in getattr(plugin, kind).items():
                print(f"  {kind.removesuffix('s'):<10} {name}/{item:<20} {target}")


@app.command(context_settings=EXTRA_OPTIONS)
def bench(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Benchmark; see `mindsci plugins`.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: Debug = False,
) -> None:
    """Measure speed on this machine. Options of the benchmark follow its name: --size 200 --steps 20."""
    report("benchmarks", name, context.args, as_json)


@app.command(context_settings=EXTRA_OPTIONS)
def validate(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Validation; see `mindsci plugins`.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: Debug = False,
) -> None:
    """Compare results with their references; exit status 1 when a gate falls short."""
    report("validations", name, context.args, as_json)


@app.command()
def info() -> None:
    """Print versions, devices and folders."""
    import mindsci
    from mindsci.report import machine

    print(
        json.dumps(
            {"mindsci": mindsci.__version__, "packages": str(Path(mindsci.__file__).parent.parent)} | machine(),
            indent=2,
        )
    )


def report(kind: str, name: str, arguments: list[str], as_json: bool) -> None:
    """Runs a function that returns a Report, prints it, and exits with 1 where a gate falls short, 2 where one did not
    run.
    """
    from mindsci import plugins as registry

    function = registry.get(kind, name)
    made = function(**parse_options(function, arguments))
    if as_json:
        print(made.to_json())
    else:
        made.print()
    if not made.ok:
        raise typer.Exit(1)
    if not made.complete:
        raise typer.Exit(2)


def parse_options(function: Any, arguments: list[str]) -> dict[str, Any]:
    """Returns the keyword arguments that `--name value` pairs give; types come from the signature's defaults."""
    known = inspect.signature(function).parameters
    values: dict[str, Any] = {}
    remaining = list(arguments)
    while remaining:
        option, equals, value = remaining.pop(0).partition("=")
        key = option.removeprefix("--").replace("-", "_")
        if not option.startswith("--") or key not in known:
            raise UnknownNameError.of("option", option, ["--" + name.replace("_", "-") for name in known])
        default = known[key].default
        if isinstance(default, bool) and not equals:
            values[key] = True
            continue
        if not equals:
            if not remaining:
                raise InputError(f"{option} needs a value")
            value = remaining.pop(0)
        values[key] = _converted(option, value, default)
    return values


def _converted(option: str, value: str, default: Any) -> Any:
    if isinstance(default, bool):
        if value.lower() not in ("true", "false"):
            raise InputError(f"{option} {value}: true or false is needed")
        return value.lower() == "true"
    try:
        return type(default)(value)
    except ValueError:
        raise InputError(f"{option} {value}: a number of type {type(default).__name__} is needed") from None


def checked_device(name: str) -> Any:
    """Returns the torch device. Raises InputError where it is not there."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device {name} is not a device; use cpu, cuda or cuda:<number>") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"--device {name}: this machine has no CUDA device that torch can use; use --device cpu")
    return device


def mount_hub() -> None:
    from mindsci.cli_hub import datasets_app, pretrained_app

    app.add_typer(datasets_app, name="datasets", help="Data sets: list, info, download, verify.")
    app.add_typer(pretrained_app, name="pretrained", help="Pretrained models: list, info, download, verify.")


def main() -> None:
    """Runs the command line: a user's error becomes one message and status 2, ours keeps its traceback."""
    from mindsci.runs import Interrupted

    mount_hub()
    try:
        app()
    except (UserError, OSError) as error:
        if "--debug" in sys.argv:
            raise
        print(f"error: {_message(error)}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as event:
        print(event, file=sys.stderr)
        sys.exit(130)
    except KeyboardInterrupt:
        print("stopped at once; what was written before is kept", file=sys.stderr)
        sys.exit(130)


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and not isinstance(error, UserError):
        place = f"'{error.filename}': " if error.filename else ""
        return f"{place}{error.strerror or error}"
    return str(error)
