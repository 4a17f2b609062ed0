"""`hostscope audit`: the trail of privileges and acts."""

from typing import Any

import click

from hostscope.chain import VERIFICATION_SCHEMA, Verification
from hostscope.cli.options import ROWS, Choices, options, parse_query
from hostscope.cli.output import open_output
from hostscope.cli.show import FINDINGS, FINDINGS_INCOMPLETE, show
from hostscope.errors import Incomplete
from hostscope.render.audit_columns import AUDIT, render_verification
from hostscope.render.documents import encode_json
from hostscope.session import open_session

EPILOG = """\b
FILE is a trail; several are one trail in parts, oldest first. Without one
it is this user's own (/var/log/hostscope/audit.jsonl for root, or
HOSTSCOPE_AUDIT)."""

VERIFY_EPILOG = f"""{EPILOG}

\b
Exit codes: 0 whole; 8 lines are missing (cut off, never finished, or in
older files that were not given); 10 a line was changed, inserted or moved;
11 both.

Example: hostscope audit verify"""

SHOW_EPILOG = f"""{EPILOG}

\b
Example:
  hostscope audit show --filter 'action == "act.terminate"' --sort -seq"""


@click.group("audit", no_args_is_help=False, epilog="Example: hostscope audit verify")
def command() -> None:
    """Check and show the hash-chained trail of every privilege used and every act, refused ones included."""


@command.command("verify", epilog=VERIFY_EPILOG)
@click.argument("files", nargs=-1, metavar="[FILE]...")
@options("page_format", "output", "verbose")
def verify(files: tuple[str, ...], **given: Any) -> int:
    """Check that no line was changed, inserted, moved or taken away; names the first that does not fit."""
    choices = Choices(**given)
    with open_session(lower=True) as session:
        found = session.verify_trail(files)
    with open_output(choices.output, session.overriding) as sink:
        if choices.format == "json":
            sink.write(encode_json({"schema": VERIFICATION_SCHEMA, "verification": found}), b"\n")
        else:
            sink.write_all(render_verification(found))
    return _code(found)


def _code(found: Verification) -> int:
    if found.fault:
        return FINDINGS_INCOMPLETE if found.missing else FINDINGS
    return Incomplete.exit_code if found.missing else 0


@command.command("show", epilog=SHOW_EPILOG)
@click.argument("files", nargs=-1, metavar="[FILE]...")
@options(*ROWS, "strict", "quiet", "verbose")
def show_lines(files: tuple[str, ...], **given: Any) -> int:
    """Show the lines of the trail, oldest first."""
    choices = Choices(**given)
    query = parse_query(choices, AUDIT)
    with open_session(lower=True) as session:
        return show(session, query, session.trail(files))
