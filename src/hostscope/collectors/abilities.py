"""What hostscope can do here."""

from collections.abc import Iterator

from hostscope.model.answer import Answer
from hostscope.model.host import Ability
from hostscope.model.request import ProcessRequest
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally


def collect(host: Host, request: ProcessRequest | None = None) -> Answer[Ability]:
    """Each capability of hostscope: available or not, why, and what enables it."""
    tally = Tally()
    return Answer(_rows(host, tally), tally.coverage)


def _rows(host: Host, tally: Tally) -> Iterator[Ability]:
    tally.method = host.name
    for ability in host.privileges.abilities():
        tally.seen += 1
        tally.rows += 1
        yield ability
