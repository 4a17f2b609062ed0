"""What commands about one table have in common."""

from typing import Any

from hostscope.cli.options import Choices, parse_query
from hostscope.cli.show import show
from hostscope.model.request import ProcessRequest
from hostscope.render.layouts import LAYOUTS
from hostscope.session import open_session


def show_table(table: str, choices: Choices, fields: frozenset[str] = frozenset()) -> int:
    """Writes a table, with `fields` besides what its columns need; the exit code that follows from what it covers."""
    query = parse_query(choices, LAYOUTS[table])
    request = ProcessRequest(fields=query.fields() | fields)
    with open_session(choices.replay, choices.reveal, lower=True) as session:
        answer: Any = session.snapshot(table, request)
        return show(session, query, answer)
