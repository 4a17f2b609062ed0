"""Each column says itself which fields it needs: alone it shows what it shows among all others."""

import os

import pytest

from hostscope.model.request import ENHANCED, ProcessRequest
from hostscope.platforms import open_host
from hostscope.render.columns import COLUMNS
from hostscope.render.layout import field_groups

pytestmark = pytest.mark.system
OF_EVERYTHING = {"gaps"}
"""Columns about the whole record."""
FROM_COLLECTORS = {"pcpu", "ancestry", "sha256", "package", "package_match", "filecaps", "setuid"}
"""Columns that a platform alone does not fill."""


def test_every_column_asks_for_what_it_needs() -> None:
    processes = open_host().processes
    whole = processes.read(os.getpid(), ProcessRequest(fields=ENHANCED))
    for column in COLUMNS:
        if column.name in OF_EVERYTHING | FROM_COLLECTORS:
            continue
        alone = processes.read(os.getpid(), ProcessRequest(fields=field_groups((column,))))
        assert (column.get(alone) is None) == (column.get(whole) is None), column.name
