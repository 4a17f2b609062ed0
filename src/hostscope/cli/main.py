"""The `hostscope` command. Imports a command's module only when that command runs, and is the only place that exits."""

import errno
import importlib
import os
import signal
import stat
import sys
from types import FrameType
from typing import Any

import click

from hostscope import __version__
from hostscope.errors import Error

COMMANDS: dict[str, str] = {
    "ps": "List every process of the host.",
    "tree": "Show processes by descent.",
    "inspect": "Show everything about one process, and why it runs.",
    "hidden": "Look for processes that some ways of looking do not show.",
    "containers": "List containers.",
    "services": "List the units of the service manager, or watch them change.",
    "dump": "Preserve the memory of processes in files.",
    "analyze": "Show what a dump tells.",
    "scan": "Look for YARA rules in the memory and executables of processes.",
    "verify": "Judge the signatures of files and of what processes run: by whom, valid or why not.",
    "traffic": "Show how much each process sends and receives, and to whom.",
    "watch": "Show what happens to processes: starts, programs, ends, users, sockets.",
    "trace": "Show the system calls of a process, or of a command.",
    "kill": "End processes: by identity, never the wrong one.",
    "suspend": "Stop processes where they are.",
    "resume": "Let stopped processes run on.",
    "audit": "Check and show the trail of privileges and acts.",
    "net": "List sockets, the processes that hold them, and who they talk to.",
    "interfaces": "List network interfaces, and what passes through them.",
    "capture": "Capture packets into a pcapng file that names the process behind each.",
    "dns": "Show how names are resolved, what is asked, and how well servers answer.",
    "counters": "Show the host's counters.",
    "service": "Have Windows' service control manager run a live command.",
    "doctor": "Say what hostscope can do here, and what enables the rest.",
    "record": "Write what the host answers to a file for --replay.",
}
"""Each is a module of this package with a `command`."""

EXIT_CODES = """\b
Exit codes:
   0  done; gaps inside rows are named beside them
   1  hostscope failed
   2  the request makes no sense as written
   3  no such process
   4  denied
   5  the pid is another process now
   6  the host cannot do it
   7  refused by the guard, or not confirmed
   8  incomplete: an act done in part; a filter that left nothing, while not
      everything could be seen; with --strict, whatever could not be seen
  10  findings          11  findings, and not everything could be seen
 130  interrupted      143  terminated      129  the terminal went away"""

INTERRUPTED, TERMINATED = 130, 143
HANGUP: int | None = getattr(signal, "SIGHUP", None)


class Commands(click.Group):
    """The commands by name; their modules are imported when they run, not for help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"hostscope.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists `COMMANDS` without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=Commands,
    name="hostscope",
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, message="hostscope %(version)s")
def cli() -> None:
    """Shows what every process on this host is, and says what it could not see."""


class _Terminated(BaseException):
    """SIGTERM or SIGHUP came; like `KeyboardInterrupt`, nothing but the end catches it."""

    def __init__(self, number: int) -> None:
        self.code = 128 + number


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated(number)


def main(arguments: list[str] | None = None) -> None:
    """Runs one command and exits."""
    signal.signal(signal.SIGTERM, _terminate)
    if HANGUP is not None and signal.getsignal(HANGUP) is signal.SIG_DFL:  # nohup leaves it ignored
        signal.signal(HANGUP, _terminate)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _open_streams()
    sys.exit(run(arguments))


def _open_streams() -> None:
    """Streams that we were started without (``>&-``): their numbers must not go to the next file that is opened.

    Messages then go nowhere, and output fails as on any stream that cannot be written.
    """
    for name, mode in (("stdin", os.O_RDONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, mode), "r" if name == "stdin" else "w", encoding="utf-8"))


def run(arguments: list[str] | None = None) -> int:
    """Runs one command; its exit code, with errors said on standard error in one line and a hint."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return 0
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except _Terminated as ended:
        return ended.code
    except Error as error:
        _complain(error.message, error.hint)
        return error.exit_code
    except OSError as error:
        if _nobody_reads(error):
            _drop_output()
            return 0
        _complain(f"cannot write the output: {error.strerror or error}", None)
        _drop_output()
        return Error.exit_code
    except Exception as error:  # whatever it is, a person gets one line, and scripts the documented code
        _complain(f"internal error: {type(error).__name__}: {error}", _trace(error))
        return Error.exit_code
    return code


def _trace(error: Exception) -> str | None:
    """Says where an unexpected error came from, or how to see that."""
    from hostscope import log
    from hostscope.render.sanitise import sanitise

    if not log.is_verbose():
        return "this is a fault of hostscope; --verbose shows where"
    import traceback

    lines = "".join(traceback.format_exception(error)).splitlines()
    print("\n".join(map(sanitise, lines)), file=sys.stderr)  # noqa: T201
    return None


def _run(arguments: list[str] | None) -> int:
    """Click's own `main` would exit by itself on a closed pipe and print on an interrupt."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        with cli.make_context("hostscope", given or ["--help"]) as context:
            code: Any = cli.invoke(context)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "hostscope"
        _complain(error.format_message(), f"see: {where} --help")
        return 2
    except click.ClickException as error:
        _complain(error.format_message(), None)
        return error.exit_code
    return code if isinstance(code, int) else 0


def _complain(message: str, hint: str | None) -> None:
    from hostscope.render.sanitise import sanitise

    lines = [f"hostscope: {sanitise(message)}", *([f"hint: {sanitise(hint)}"] if hint else [])]
    print("\n".join(lines), file=sys.stderr)  # noqa: T201


def _nobody_reads(error: OSError) -> bool:
    """Whether it is a closed pipe, of which Windows' C library says EINVAL, about no file and without Windows' code."""
    if type(error) is not OSError or error.filename is not None or getattr(error, "winerror", None) is not None:
        return False
    try:
        return error.errno == errno.EINVAL and stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode)
    except (OSError, ValueError):
        return False  # standard output is no file of ours


def _drop_output() -> None:
    """Nobody reads any more: what is still buffered goes nowhere, instead of failing at exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return  # Standard output is no file of ours (tests capture it); there is nothing to drop.


if __name__ == "__main__":
    main()
