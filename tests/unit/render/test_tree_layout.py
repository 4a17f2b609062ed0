"""Branches are drawn before the command."""

from hostscope.model.tree import TreeRow
from hostscope.render.table import cells_of
from hostscope.render.tree import TREE, branch_columns, render_branches
from tests.fake import process


def test_branches() -> None:
    assert render_branches(()) == ""
    assert render_branches((True,)) == "└─ "
    assert render_branches((False, True, False)) == "│     ├─ "
    assert render_branches((True,) * 500).startswith("… ")
    assert len(render_branches((False,) * 100_000)) < 200


def test_the_first_column_that_names_the_process_gets_them() -> None:
    row = TreeRow(process(5), (False,))
    assert cells_of(branch_columns(TREE.choose("pid,command,name")))(row) == ("5", "├─ sleep 5", "sleep")
    assert cells_of(branch_columns(TREE.choose("pid,name")))(row) == ("5", "├─ sleep")
    assert cells_of(branch_columns(TREE.choose("pid,rss")))(row) == ("5", "20.0K")
