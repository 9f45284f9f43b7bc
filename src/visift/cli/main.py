"""The `visift` command: puts the command groups together and turns errors into one line and an exit code."""

from __future__ import annotations

import os

os.environ.setdefault(
    "OMP_WAIT_POLICY", "passive"
)  # before torch loads: a busy neighbour otherwise slows a step tenfold
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # warnings of theirs that a user can act on are errors of ours

import sys
from typing import Annotated

import typer

import visift
from visift.cli.answer import answer
from visift.cli.check import check
from visift.cli.convert import convert
from visift.cli.export import export
from visift.cli.mark import mark
from visift.cli.mix import mix
from visift.cli.probe import probe
from visift.cli.report import report
from visift.cli.run import claims, demo, run
from visift.cli.score import compare, score
from visift.cli.synth import synth
from visift.cli.train import train
from visift.core.errors import VisiftError

app = typer.Typer(
    name="visift",
    help="Visual instruction fine-tuning: pictures in; instruction data, fine-tuned models and honest evidence out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    demo,
    run,
    synth,
    mark,
    mix,
    check,
    convert,
    train,
    answer,
    score,
    compare,
    export,
    probe,
    claims,
    report,
):
    app.command()(command)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"visift {visift.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Visual instruction fine-tuning: pictures in; instruction data, fine-tuned models and honest evidence out."""


def main() -> None:
    """Exit code 0 = done, 1 = the work failed, 2 = bad usage; errors are one line on stderr."""
    try:
        app()
    except VisiftError as e:
        print(f"visift: {' '.join(str(e).split())}", file=sys.stderr)
        sys.exit(e.exit_code)
    except SystemExit as e:
        if e.code == 130:  # what typer makes of Ctrl-C, without a word
            print("visift: stopped; run the same command again to go on", file=sys.stderr)
        raise
    except OSError as e:  # a full disk or a vanished folder outside the places that already say more
        where = f"{e.filename}: " if e.filename else ""
        print(f"visift: {where}{e.strerror or e}. check the disk and the path, then run again", file=sys.stderr)
        sys.exit(1)
