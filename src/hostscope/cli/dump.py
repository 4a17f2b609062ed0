"""`hostscope dump`: the memory of processes, preserved in files."""

from collections.abc import Iterator
from typing import Any

import click

from hostscope.cli.options import Choices, options, parse_query
from hostscope.cli.output import open_output
from hostscope.cli.progress import progress
from hostscope.cli.show import FORMS, Showing
from hostscope.cli.sizes import SIZE
from hostscope.errors import Incomplete, UsageError
from hostscope.model.answer import Answer
from hostscope.model.dump import COMPRESSIONS, HASHES, IMAGES, POLICIES, Dump, DumpRequest
from hostscope.render.dump_columns import DUMPS
from hostscope.session import open_session

EPILOG = """\b
TARGET is a pid, a name, :PORT or a key. Beside each dump stands its
manifest (.json): what was read when, by whom and how, a digest of every
piece, and everything that was left out or could not be read. Files are
readable by their owner only; memory is raw, so what a process knew is in
them, secrets too.

\b
The process is not stopped, so pages are of different moments; --freeze
stops it for that time. Registers stop each thread for a moment,
--no-registers leaves them out. Whatever happens to hostscope, a stopped
process runs on (Windows: since Windows 11; before, `hostscope resume` is
needed when hostscope was killed while a process was frozen).

\b
--image system has the system write the dump (Windows: MiniDumpWriteDump,
which stops the process for all of the time): every region, without limits
or compression. What it left out is counted, and every region has a digest
all the same.

\b
Policies: all, private, executable, anonymous, suspicious-first (anomalies
before the rest), suspicious (only those, and stacks).

Example: hostscope dump 1 --policy executable --output init.core --force"""

POSITIVE = click.IntRange(min=1)


@click.command("dump", epilog=EPILOG)
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option("--all", "everything", is_flag=True, help="Every process but hostscope and the kernel's threads.")
@click.option("--policy", type=click.Choice(tuple(POLICIES)), default="all", help="Which regions.")
@click.option(
    "--image",
    type=click.Choice(IMAGES),
    default="core",
    help="What debuggers here open (an ELF core, a minidump); the regions' bytes; or a dump by the system.",
)
@click.option("--compress", type=click.Choice(COMPRESSIONS), default="none", help="Compress the image.")
@click.option("--hash", "hash_", type=click.Choice(HASHES), default="sha256", help="Digest of each piece.")
@click.option("--freeze", is_flag=True, help="Stop the process while its memory is read.")
@click.option("--no-registers", is_flag=True, help="Do not stop threads for their registers.")
@click.option("--rate-limit", type=SIZE, metavar="SIZE", help="Read at most so much a second, such as 100M.")
@click.option("--max-bytes", type=SIZE, metavar="SIZE", help="Read at most so much of a process.")
@click.option("--max-region-bytes", type=SIZE, metavar="SIZE", help="Read at most so much of a region.")
@click.option("--memory", type=SIZE, metavar="SIZE", help="Buffers of all dumps together; 64M.")
@click.option("--threads", type=click.IntRange(1, 64), default=2, metavar="N", help="That read and hash; 2.")
@click.option("--keep-partial", is_flag=True, help="Keep what there is when a dump breaks off.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.option("--reason", metavar="TEXT", help="Why; goes into manifest and audit trail.")
@click.option("--output", metavar="PATH", help="The file, or for several processes a directory; default: here.")
@options("format", "columns", "strict", "quiet", "verbose")
def command(targets: tuple[str, ...], everything: bool, output: str | None, force: bool, **given: Any) -> int:
    """Preserve the memory of processes in files that debuggers and analysis tools open."""
    request = _request(given)
    choices = Choices(**given)
    if bool(targets) == everything:
        raise UsageError("which processes?", "give a pid, a name, :PORT or a key, or --all")
    query = parse_query(choices, DUMPS)
    incomplete: list[Dump] = []
    with (
        open_session(lower=True) as session,
        open_output(None) as sink,
        progress("dumping", choices) as going,
    ):
        sink.before = going.end
        answer = _noticed(session.dump(targets, request, output, force), incomplete)
        FORMS[choices.format](Showing(query, going.over(answer), query.selection(), sink))
    return Incomplete.exit_code if incomplete else 0


def _request(given: dict[str, Any]) -> DumpRequest:
    """Takes the options that only a dump has out of `given`."""
    memory = given.pop("memory")
    return DumpRequest(
        policy=given.pop("policy"),
        image=given.pop("image"),
        compression=given.pop("compress"),
        hash=given.pop("hash_"),
        registers=not given.pop("no_registers"),
        freeze=given.pop("freeze"),
        rate_bytes=given.pop("rate_limit"),
        max_bytes=given.pop("max_bytes"),
        max_region_bytes=given.pop("max_region_bytes"),
        keep_partial=given.pop("keep_partial"),
        threads=given.pop("threads"),
        memory_bytes=memory or DumpRequest().memory_bytes,
        why=given.pop("reason"),
    )


def _noticed(answer: Answer[Dump], incomplete: list[Dump]) -> Answer[Dump]:
    """The same rows; those of dumps that lack something are kept."""

    def rows() -> Iterator[Dump]:
        for row in answer:
            if not row.complete:
                incomplete.append(row)
            yield row

    return Answer(rows(), lambda: answer.coverage)
