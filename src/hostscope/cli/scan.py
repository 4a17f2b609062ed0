"""`hostscope scan`: YARA rules over running processes."""

from typing import Any

import click

from hostscope.cli.options import Choices, options, parse_query
from hostscope.cli.output import open_output
from hostscope.cli.progress import progress
from hostscope.cli.show import FORMS, Showing, findings_code
from hostscope.errors import UsageError
from hostscope.render.dump_columns import MATCHES
from hostscope.session import open_session

EPILOG = """\b
Rules are YARA-X's; a directory is searched for .yar and .yara files. Memory
is scanned in parts of 16 MiB that overlap by 64 KiB: conditions about a
whole file (filesize, offsets) are about a part. Rules that take more than
30 s for one are given up for its region, which is counted as a gap. Exits
with 10 when a rule matches, 11 when besides not everything could be
scanned, 8 when nothing matched but not everything could be scanned.

Example: hostscope scan 1 --rules rules.yar"""


@click.command("scan", epilog=EPILOG)
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option("--all", "everything", is_flag=True, help="Every process but hostscope and the kernel's threads.")
@click.option("--rules", required=True, metavar="FILE|DIR", help="YARA rules.")
@click.option("--memory/--no-memory", default=True, help="Scan memory.")
@click.option("--executable/--no-executable", default=True, help="Scan the executable's file.")
@options("format", "output", "filter", "sort", "columns", "limit", "quiet", "verbose")
def command(
    targets: tuple[str, ...], everything: bool, rules: str, memory: bool, executable: bool, **given: Any
) -> int:
    """Look for YARA rules in the memory and executables of processes."""
    choices = Choices(**given)
    if bool(targets) == everything:
        raise UsageError("which processes?", "give a pid, a name, :PORT or a key, or --all")
    if not memory and not executable:
        raise UsageError("nothing is left to scan", "leave out --no-memory or --no-executable")
    query = parse_query(choices, MATCHES)
    with (
        open_session(lower=True) as session,
        open_output(choices.output, session.overriding) as sink,
        progress("scanning", choices) as going,
    ):
        sink.before = going.end
        answer = session.scan(targets, rules, memory, executable)
        showing = Showing(query, going.over(answer), query.selection(), sink)
        FORMS[choices.format](showing)
    return findings_code(showing.coverage(), showing.selection.shown)
