"""`hostscope service`: a live command as a service of Windows."""

import click

from hostscope.cli.show import say
from hostscope.errors import UsageError
from hostscope.model.service import ServiceStep
from hostscope.session import open_session
from hostscope.session.console import open_console

EPILOG = """\b
A service has no terminal: say where its output goes, with --output, and for
watch with --system-log. Only services that were installed like this are
started, stopped and removed; each act is in the audit trail. Linux and
macOS need nothing of the kind; for systemd the doctor prints units.

\b
Example:
  hostscope service install hostscope-watch -- watch --output C:\\Logs\\w.txt"""

NAME = click.argument("name")


@click.group("service", no_args_is_help=False, epilog=EPILOG)
def command() -> None:
    """Have Windows' service control manager run a live command."""


@command.command("install", epilog="Example: hostscope service install hostscope-watch -- watch --system-log")
@NAME
@click.argument("arguments", nargs=-1, required=True, metavar="COMMAND [ARGUMENT]...")
def install(name: str, arguments: tuple[str, ...]) -> int:
    """Register a service that runs a live command of hostscope, to be started on demand."""
    with open_session(None, lower=True) as session:
        say(f"installed {name}: {session.install_service(name, arguments)}")
    return 0


@command.command("start", epilog="Example: hostscope service start hostscope-watch")
@NAME
def start(name: str) -> int:
    """Start a service that was installed like this."""
    return _act(name, "start")


@command.command("stop", epilog="Example: hostscope service stop hostscope-watch")
@NAME
def stop(name: str) -> int:
    """Have a service end as an interrupt would: files are whole afterwards."""
    return _act(name, "stop")


@command.command("remove", epilog="Example: hostscope service remove hostscope-watch")
@NAME
def remove(name: str) -> int:
    """Remove a service that was installed like this."""
    return _act(name, "remove")


@command.command("run", epilog="Example: hostscope service run hostscope-watch -- watch --system-log")
@NAME
@click.argument("arguments", nargs=-1, required=True, metavar="COMMAND [ARGUMENT]...")
def run(name: str, arguments: tuple[str, ...]) -> int:
    """What the service control manager runs; nobody else need."""
    from hostscope.cli import main

    if arguments[0] == "service":
        raise UsageError("a service cannot run services", "give a live command")
    with open_console().serving(name) as ended:
        code = main.run(list(arguments))
        ended(0 if code in (main.INTERRUPTED, main.TERMINATED) else code)
    return code


def _act(name: str, step: ServiceStep) -> int:
    with open_session(None, lower=True) as session:
        session.act_on_service(name, step)
    return 0
