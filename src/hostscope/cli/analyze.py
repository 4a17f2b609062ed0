"""`hostscope analyze`: what a dump tells."""

from typing import Any

import click

from hostscope.cli.options import Choices, options
from hostscope.cli.output import open_output
from hostscope.cli.progress import progress
from hostscope.cli.show import FINDINGS, FINDINGS_INCOMPLETE
from hostscope.errors import Incomplete
from hostscope.model.dump import ANALYSIS_SCHEMA, DumpAnalysis
from hostscope.render.analysis_page import render_analysis
from hostscope.render.documents import encode_json
from hostscope.session import open_session

EPILOG = """\b
FILE is an ELF core (of hostscope, gdb or the kernel), or a raw image beside
its manifest; .zst is unpacked. Secrets in text are masked where they look
like some (a heuristic). Anomalies that honest programs show, too, are
marked so. Exits with 10 when there are anomalies or matches (bytes without
the digest of the manifest are one), 11 when besides the dump is incomplete,
8 with --strict when it is incomplete and nothing was found.

Example: hostscope analyze init.core --no-text"""


@click.command("analyze", epilog=EPILOG)
@click.argument("file")
@click.option("--rules", metavar="FILE|DIR", help="YARA rules to match.")
@click.option("--strings", type=click.IntRange(0), default=1000, metavar="N", help="Strings to keep; 1000.")
@click.option("--shortest", type=click.IntRange(3, 1000), default=6, metavar="N", help="Of a string; 6 characters.")
@click.option("--text/--no-text", default=True, help="Look for strings and indicators: the slow part.")
@click.option("--compare/--no-compare", default=True, help="Compare code with this host's files.")
@click.option("--verify/--no-verify", default=True, help="Compute the manifest's digests again.")
@options("page_format", "output", "strict", "quiet", "verbose")
def command(
    file: str, rules: str | None, strings: int, shortest: int, text: bool, compare: bool, verify: bool, **given: Any
) -> int:
    """Show what a dump tells: modules, threads, anomalies, indicators, strings, matches."""
    from hostscope.collectors.analysis import AnalysisRequest

    choices = Choices(**given)
    request = AnalysisRequest(rules, strings, shortest, text, compare, verify)
    with open_session(lower=True) as session, progress("analysing", choices):
        found = session.analyze(file, request)
    with open_output(choices.output, session.overriding) as sink:
        if choices.format == "json":
            sink.write(encode_json({"schema": ANALYSIS_SCHEMA, "analysis": found}), b"\n")
        else:
            sink.write_all(render_analysis(found, sink.style()))
    return _code(found, choices.strict)


def _code(found: DumpAnalysis, strict: bool) -> int:
    if not (found.anomalies or found.matches):
        return Incomplete.exit_code if found.gaps and strict else 0
    return FINDINGS_INCOMPLETE if found.gaps else FINDINGS
