"""`hostscope verify`: who vouches for a file, and whether it is what they signed."""

import os
from collections.abc import Iterator
from typing import Any

import click

from hostscope.cli.options import Choices, options, parse_query
from hostscope.cli.output import open_output
from hostscope.cli.progress import progress
from hostscope.cli.show import FORMS, Showing, findings_code, strict_code
from hostscope.errors import Incomplete, UsageError
from hostscope.model.answer import Answer
from hostscope.model.signature import FINDINGS, Signature
from hostscope.model.text import decode
from hostscope.render.signature_columns import SIGNATURES
from hostscope.session import open_session

EPILOG = """\b
TARGET is a file, a bundle's folder (Some.app), or a process by pid, key
or :PORT: then the image that it runs is judged, deleted or replaced as its
file may be. A file that is called like a number is ./123.

\b
Mach-O, PE, ELF and kernel modules are understood on every system. Apple's
root is pinned, Microsoft's come with hostscope, --root names others. For
other files and ELF the package database and IMA are asked. Nothing is
fetched from the network, so revocation is not checked.

\b
Exit code 10 when a signature is invalid or leads to no root that is
trusted; a file that nobody signed is no finding.

Example: hostscope verify /bin/ls"""

MOST_ROOT_BYTES = 1 << 20


@click.command("verify", epilog=EPILOG)
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option("--root", "roots", multiple=True, metavar="FILE", help="Trust these certificates (PEM or DER) as well.")
@click.option("--catalog", "catalogs", multiple=True, metavar="FILE", help="Look files up in this Windows catalogue.")
@options("format", "output", "filter", "sort", "columns", "limit", "strict", "quiet", "verbose")
def command(targets: tuple[str, ...], roots: tuple[str, ...], catalogs: tuple[str, ...], **given: Any) -> int:
    """Judge the signatures of files and of what processes run: by whom, valid or why not."""
    from hostscope.collectors.signatures import VerifyRequest

    choices = Choices(**given)
    query = parse_query(choices, SIGNATURES)
    found: list[Signature] = []
    request = VerifyRequest(tuple(map(_certificates, roots)), tuple(map(_text, catalogs)))
    with (
        open_session(lower=True) as session,
        open_output(choices.output, session.overriding) as sink,
        progress("verifying", choices) as going,
    ):
        sink.before = going.end
        answer = _noticed(session.verify(tuple(map(_text, targets)), request), found)
        showing = Showing(query, going.over(answer), query.selection(), sink)
        FORMS[choices.format](showing)
    return _code(showing, len(found))


def _code(showing: Showing, findings: int) -> int:
    coverage = showing.coverage()
    if findings:
        return findings_code(coverage, findings)
    if not coverage.complete:
        return Incomplete.exit_code
    return strict_code(coverage) if showing.query.choices.strict else 0


def _text(path: str) -> str:
    """As the records have it, whatever bytes the name is."""
    return decode(os.fsencode(path))


def _certificates(path: str) -> bytes:
    from hostscope.binaries.certificates import load_roots

    try:
        with open(path, "rb") as file:
            raw = file.read(MOST_ROOT_BYTES)
        load_roots(raw)
    except OSError as failed:
        raise UsageError(f"cannot read {path}: {failed.strerror}") from None
    except ValueError:
        raise UsageError(f"{path} is no certificate", "give one or several, in PEM or DER") from None
    return raw


def _noticed(answer: Answer[Signature], found: list[Signature]) -> Answer[Signature]:
    """The same rows; those that are findings are kept."""

    def rows() -> Iterator[Signature]:
        for row in answer:
            if row.status in FINDINGS:
                found.append(row)
            yield row

    return Answer(rows(), lambda: answer.coverage)
