"""The process table: on its own, since `ps` needs no other and pays for what it imports."""

from hostscope.model.process import SCHEMA, Process
from hostscope.render.columns import COLUMNS, DEFAULT_COLUMNS
from hostscope.render.layout import Layout

PROCESSES = Layout("processes", SCHEMA, Process, COLUMNS, DEFAULT_COLUMNS)
