"""The command line: parses, calls, prints. Commands are imported when they are used, so that help is quick."""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from importlib.metadata import entry_points, version

import click

from harness.errors import MtpbError
from sandbox import SandboxError, SandboxUnavailable

# name -> (where it is, what it does); a module path, or an entry point of the group mtpb.commands
COMMANDS = {
    "demo": ("harness.cli.run_commands:demo", "A real small model on a few bundled problems; nothing to configure."),
    "run": ("harness.cli.run_commands:run", "Generate, execute and score; continues where it was stopped."),
    "generate": ("harness.cli.run_commands:generate", "Only let the model answer."),
    "execute": ("harness.cli.score_commands:execute", "Run and grade samples of `generate`, or made elsewhere."),
    "score": ("harness.cli.score_commands:score", "Recompute verdicts and metrics; needs no model and no sandbox."),
    "leaderboard": ("harness.cli.score_commands:leaderboard", "A table of runs, as Markdown or CSV."),
    "problems": ("entry point", "List, show, check, import and fetch problems."),
    "models": ("harness.cli.models_commands:models", "List the model adapters; pull bundled weights."),
    "sandbox": ("harness.cli.sandbox_commands:sandbox", "Build, diagnose and clean up the box programs run in."),
}


def hyphens(name: str) -> str:
    """Flags are written with hyphens; underscores are accepted too."""
    return name.replace("_", "-")


def with_environment(command: click.Command) -> click.Command:
    """Every flag of `command`, and of the commands below it, can also be set as MTPB_<FLAG>."""
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.envvar is None:
            flag = next((name for name in parameter.opts if name.startswith("--")), parameter.opts[0]).lstrip("-")
            parameter.envvar = f"MTPB_{flag.replace('-', '_').upper()}"
    if isinstance(command, click.Group):
        for below in command.commands.values():
            with_environment(below)
    return command


class LazyGroup(click.Group):
    """Imports a command's module when the command is used, not when help is printed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        where, _ = COMMANDS[cmd_name]
        if where == "entry point":
            for point in entry_points(group="mtpb.commands", name=cmd_name):
                return with_environment(point.load())
            return None
        module, _, name = where.partition(":")
        return with_environment(getattr(import_module(module), name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _print_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"mtpb {version('mtpb')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": hyphens})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version.")
def cli() -> None:
    """Multi-turn programming benchmark: any model, turn by turn; programs in a sealed box; pass@k with an interval.

    Start with `mtpb demo`. Every flag can also be set as MTPB_<FLAG>.
    """


def _first_of(error: BaseException) -> BaseException:
    """The first error in a group, which is what the user can act on."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _report(error: BaseException) -> int:
    """Print an error for the user; the exit code (see docs/running.md)."""
    match error:
        case click.ClickException():
            error.show()
            return 2
        case SandboxUnavailable():
            click.echo(f"mtpb: {error}", err=True)
            return 2
        case MtpbError():
            click.echo(f"mtpb: {error}", err=True)
            return error.exit_code
        case SandboxError():
            click.echo(f"mtpb: sandbox: {error}", err=True)
            return 1
        case KeyboardInterrupt() | click.Abort():
            click.echo("mtpb: interrupted", err=True)
            return 130
        case OSError():
            click.echo(f"mtpb: {error}", err=True)
            return 1
        case _:
            traceback.print_exception(error)
            click.echo("mtpb: this is a defect of mtpb; what was done is saved", err=True)
            return 1


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        result = cli.main(args=arguments, prog_name="mtpb", standalone_mode=False)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 1
    except BaseException as error:  # the last place where an error can still be told in words
        return _report(_first_of(error))
    return result if isinstance(result, int) else 0


def script() -> None:
    """The console script `mtpb`."""
    sys.exit(main())
