"""The command line: parse, call, print. What it does is in the pipeline; a file here is a command.

Standard output carries data or the path that was written; people read standard error. Exit code 0: done; 1: a goal was
missed, or the run failed; 2: bad input, or a file that cannot be read or written; 130: interrupted.
"""

import signal
import sys
import warnings
from importlib.metadata import version
from typing import Annotated

import typer

from efface.cli.audit import audit
from efface.cli.check import check
from efface.cli.demo import demo
from efface.cli.doctor import doctor
from efface.cli.evaluate import evaluate
from efface.cli.export import export
from efface.cli.forget import forget
from efface.cli.lines import Stopped, of_system, say, warn
from efface.cli.methods import methods
from efface.cli.pretrain import pretrain
from efface.cli.push import push
from efface.cli.report import report
from efface.cli.sign import sign
from efface.cli.verify import verify
from efface.errors import EffaceError, EffaceWarning, InputError, is_text

INTERRUPTED = 130

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def about(show_version: Annotated[bool, typer.Option("--version", help="print the version and stop")] = False) -> None:
    """Removes a class from a CLIP model, keeps the rest, and writes down what it measured."""
    if show_version:
        sys.stdout.write(f"{version('efface')}\n")
        raise typer.Exit


for command in (
    demo,
    forget,
    evaluate,
    audit,
    export,
    report,
    verify,
    sign,
    check,
    push,
    pretrain,
    methods,
    doctor,
):  # in the order of --help
    app.command()(command)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits; a signal to end is taken as Ctrl-C, and the first of either counts."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is usual:  # else who started it wants it otherwise, in the background say
            signal.signal(number, _interrupt)
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def _interrupt(*_: object) -> None:
    """Ends the command; what is cleared away and said then, no second signal tears apart."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _check_text(arguments: list[str]) -> None:
    """Refuses arguments that hold bytes of another encoding than UTF-8, which no record and no output could name."""
    for argument in arguments:
        if not is_text(argument):
            raise InputError(f"the argument {argument!r} is no UTF-8 text", hint="write it, or call the file, in UTF-8")


def run(arguments: list[str]) -> int:
    """Runs the command line and returns its exit code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", EffaceWarning)
            warnings.showwarning = warn
            _check_text(arguments)
            code = app(arguments or ["--help"], standalone_mode=False)
        if code == INTERRUPTED:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except Stopped as stopped:
        say(str(stopped), stopped.hint)
        return INTERRUPTED
    except EffaceError as error:
        say(str(error), error.hint)
        return 2 if isinstance(error, InputError) else 1
    except typer.TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        say(message[:1].lower() + message[1:].rstrip("."), "efface COMMAND --help lists the options")
        return 2
    except OSError as error:
        say(of_system(error), "nothing half-written was left; check the path and the free space")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        say("interrupted", "nothing was written; run the command again")
        return INTERRUPTED
