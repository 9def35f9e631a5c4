"""The command tree, and what happens when a command fails."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

import typer

from sds3d.cli.console import aside, error_line, remarks
from sds3d.cli.options import ungrouped
from sds3d.errors import UserError

F = TypeVar("F", bound=Callable[..., Any])
STOPPED = 130
DEBUG = {"on": False}

app = typer.Typer(
    name="sds3d",
    help='Text-to-3D by score distillation, on any device. Start with: sds3d generate "a red chair"',
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from sds3d import __version__

        typer.echo(f"sds3d {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    DEBUG["on"] = debug


def guarded(command: F) -> F:
    """The command, groups of options and all, with every failure turned into one line and an exit code: 2 for what the
    user can mend, 130 when stopped, 1 for our own mistakes. With --debug the exception goes through."""
    flat = ungrouped(command)

    @functools.wraps(flat)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            with nullcontext() if DEBUG["on"] else remarks():
                return flat(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt:
            aside("stopped before anything was saved")
            raise typer.Exit(STOPPED) from None
        except Exception as error:
            line, code = explain(error)
            if DEBUG["on"] and code != STOPPED:
                raise
            (aside if code == STOPPED else error_line)(line)
            raise typer.Exit(code) from None

    return run  # type: ignore[return-value]


def explain(error: Exception) -> tuple[str, int]:
    """One line for the user, and the exit code."""
    if isinstance(error, UserError):
        return str(error), 2
    if type(error).__name__ == "Interrupted":  # engine.interrupt's, not imported here for the sake of start-up
        return str(error), STOPPED
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror, 2
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory: take fewer views (--set views=1), or on a GPU let --budget 8GB choose", 2
    if isinstance(error, ImportError) and not (error.name or "").startswith("sds3d"):
        way_out = "pip install -c constraints.txt -e . mends it, sds3d doctor tells more"
        return f"a package does not load ({' '.join(str(error).split())}): {way_out}", 2
    reason = " ".join(str(error).split())
    return f"internal error: {type(error).__name__}: {reason} (run it again with --debug and report it)", 1


# Commands register themselves on `app`; the order is that of --help.
# isort: off
from sds3d.cli import generate, batch, refine, view, inspect, bench_guidance, bench_quality, bench_exports  # noqa: E402, F401
from sds3d.cli import doctor, download, probe, prior  # noqa: E402, F401
