"""`hostscope doctor`: what hostscope can do here."""

from typing import Any

import click

from hostscope.cli.options import Choices, options
from hostscope.cli.output import open_output
from hostscope.errors import Incomplete, UsageError
from hostscope.model.host import ABILITY_SCHEMA, Ability
from hostscope.model.inspection import HOST_SCHEMA, HostInspection
from hostscope.render.documents import encode_json
from hostscope.render.host_page import render_ability, render_host
from hostscope.render.table import Style
from hostscope.session import open_session

EPILOG = """\b
CAPABILITY is a name from the list; its page says what it takes, what goes
without it, and how to enable it. With --strict, what is missing makes the
exit code 8.

\b
--unit writes a unit for systemd, to be placed and started by you:
  hostscope doctor --unit traffic > hostscope-traffic.service

Example: hostscope doctor iterator"""


@click.command("doctor", epilog=EPILOG)
@click.argument("name", metavar="[CAPABILITY]", required=False)
@click.option("--unit", metavar="CAPABILITY", help="Write a service unit that runs it with the privileges it takes.")
@options("page_format", "output", "replay", "strict", "verbose")
def command(name: str | None, unit: str | None, **given: Any) -> int:
    """Say what hostscope can do here, why not more, what goes without it, and what enables the rest."""
    if name and unit:
        raise UsageError("a page and a unit are two things", "give CAPABILITY or --unit CAPABILITY")
    choices = Choices(**given)
    with open_session(choices.replay, lower=True) as session:
        inspection = session.host()
    chosen = _chosen(inspection, name or unit)
    with open_output(choices.output, session.overriding) as sink:
        if unit:
            sink.write(f"{_unit(chosen[0])}\n")
        elif choices.format == "json":
            sink.write(_document(inspection, chosen[0] if name else None), b"\n")
        else:
            sink.write(_page(inspection, chosen[0] if name else None, sink.style()))
    lacking = any(not ability.available for ability in chosen)
    return Incomplete.exit_code if choices.strict and (inspection.gaps or lacking) else 0


def _chosen(inspection: HostInspection, name: str | None) -> list[Ability]:
    """The one of that name, or all of them."""
    found = [ability for ability in inspection.abilities if name in (None, ability.name)]
    if name and not found:
        known = ", ".join(ability.name for ability in inspection.abilities)
        raise UsageError(f"there is no capability {name!r}", f"capabilities: {known}")
    return found


def _unit(ability: Ability) -> str:
    if ability.unit is None:
        raise UsageError(f"{ability.name} is nothing that a service could run", f"see hostscope doctor {ability.name}")
    return ability.unit


def _document(inspection: HostInspection, ability: Ability | None) -> bytes:
    if ability:
        return encode_json({"schema": ABILITY_SCHEMA, "ability": ability})
    return encode_json({"schema": HOST_SCHEMA, "host": inspection})


def _page(inspection: HostInspection, ability: Ability | None, style: Style) -> str:
    return render_ability(ability, style) if ability else render_host(inspection, style)
