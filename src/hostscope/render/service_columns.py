"""Columns of services."""

from hostscope.model.service import SCHEMA, ServiceState
from hostscope.render.column import Column, Kind, column_at
from hostscope.render.layout import Layout

_SCM: tuple[tuple[str, Kind, str], ...] = (
    ("kind", "text", "own-process, share-process, kernel-driver, ..."),
    ("command", "text", "path of its program with arguments, or of its driver"),
    ("account", "text", "whose rights it has"),
    ("group", "text", "load order group"),
    ("delayed", "bool", "starts some time after the others"),
    ("triggers", "list", "what starts or stops it"),
    ("dependencies", "list", "what has to run before it"),
    ("error_control", "text", "what the system does when it does not start"),
    ("exit_code", "int", "error code that it ended with"),
    ("program", "text", "file of its program or driver"),
    ("library", "text", "file with its code, where the program only hosts it"),
)
"""Fields of `ScmEntry` by name, with kind and meaning."""


def _of_scm(name: str, kind: Kind, doc: str) -> Column[ServiceState]:
    return column_at(name, name.replace("_", " ").upper(), kind, f"scm.{name}", None, f"{doc} (Windows)")


def _user(state: ServiceState) -> str | None:
    if state.scm:
        return state.scm.account
    return None if state.user is None else str(state.user)


SERVICES = Layout(
    "services",
    SCHEMA,
    ServiceState,
    (
        Column("name", "UNIT", "text", "name", None, "name of the unit", lambda s: s.name),
        Column("type", "TYPE", "text", "type", None, "service, socket, timer, ...", lambda s: s.type),
        Column("state", "STATE", "text", "state", None, "active, inactive, failed, ...", lambda s: s.state),
        Column("substate", "SUBSTATE", "text", "substate", None, "the manager's finer state", lambda s: s.substate),
        Column("start_mode", "START", "text", "start_mode", None, "enabled, disabled, ...", lambda s: s.start_mode),
        Column("pid", "PID", "int", "main_pid", None, "main process", lambda s: s.main_pid),
        Column("slice", "SLICE", "text", "slice", None, "slice", lambda s: s.slice),
        Column("manager", "MANAGER", "text", "manager", None, "whose unit it is", lambda s: s.manager),
        Column("user", "USER", "text", "scm.account", None, "uid whose manager runs it; Windows: its account", _user),
        Column("path", "PATH", "text", "path", None, "where it is defined", lambda s: s.path),
        Column("description", "DESCRIPTION", "text", "description", None, "description", lambda s: s.description),
        *(_of_scm(*column) for column in _SCM),
        column_at(
            "signature",
            "SIGNATURE",
            "text",
            "signature.status",
            "signature",
            "of its code (Windows): valid, invalid, ...",
        ),
        column_at("signer", "SIGNER", "text", "signature.signer", "signature", "who signed its code"),
    ),
    ("name", "user", "state", "substate", "start_mode", "pid", "description"),
)
