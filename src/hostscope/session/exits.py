"""What leaves a session: rows with their secrets masked, or shown to those who may see them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from hostscope.errors import Error
from hostscope.model.answer import Answer
from hostscope.model.request import ProcessRequest
from hostscope.model.text import decode, encode
from hostscope.render.mask import mask_argv, mask_detail, mask_process, mask_service

if TYPE_CHECKING:
    from hostscope.model.coverage import Coverage
    from hostscope.model.detail import ProcessDetail
    from hostscope.model.inspection import ProcessInspection
    from hostscope.model.process import Process
    from hostscope.model.service import ServiceState
    from hostscope.platforms.base import Columns, Host

Row = TypeVar("Row")
OWNER = "owner"
ADMINISTRATORS = ("0", "S-1-5-18")
"""Root, and Windows' LocalSystem."""
ELEVATED = "security"
"""The group of fields that tells on Windows whether we are an elevated administrator."""


class Exit:
    """Masks what secrets this viewer may not see."""

    def __init__(self, host: Host, reveal: bool) -> None:
        self.reveal = reveal
        self._everything = reveal and host.name == "replay"
        viewer = _viewer(host) if reveal and not self._everything else None
        self._viewer = viewer.owner.id if viewer and viewer.owner else None
        self._everything = self._everything or (viewer is not None and _is_administrator(viewer))

    @property
    def sees_everything(self) -> bool:
        """Whether nothing is masked: revealing a recording, which holds what its maker revealed, or as root.

        On Windows as LocalSystem or an elevated administrator, who may read every ordinary process.
        """
        return self._everything

    def may_see(self, process: Process) -> bool:
        """Whether this viewer may see the secrets of a process: as root or as its owner."""
        if self.sees_everything:
            return True
        return self._viewer is not None and process.owner is not None and process.owner.id == self._viewer

    def process(self, process: Process) -> Process:
        """One process on its way out."""
        return process if self.reveal and self.may_see(process) else mask_process(process)

    def detail(self, process: Process, detail: ProcessDetail) -> ProcessDetail:
        """What a process holds, on its way out."""
        return detail if self.reveal and self.may_see(process) else mask_detail(detail)

    def inspection(self, inspection: ProcessInspection) -> ProcessInspection:
        """An inspection on its way out."""
        return replace(
            inspection,
            process=self.process(inspection.process),
            detail=self.detail(inspection.process, inspection.detail),
            ancestors=tuple(self.process(ancestor) for ancestor in inspection.ancestors),
        )

    def service(self, service: ServiceState) -> ServiceState:
        """A unit on its way out."""
        return service if self.sees_everything else mask_service(service)

    def may_see_user(self, uid: int | None) -> bool:
        """The same of the processes of a user."""
        return self.reveal and (self.sees_everything or (self._viewer is not None and self._viewer == str(uid)))

    def answer(
        self, answer: Answer[Row], treat: Callable[[Row], Row], nouns: tuple[str, str] = ("process", "processes")
    ) -> Answer[Row]:
        """An answer on its way out; its coverage says how many rows were masked."""
        masked = _Count()
        return Answer(_treated(answer, treat, masked), lambda: _noted(answer.coverage, masked.rows, nouns))

    def columns(self, columns: Columns) -> Columns:
        """Columns on their way out: masked for everyone but root, because they name no owner."""
        if self.sees_everything or "argv" not in columns:
            return columns
        argv = columns["argv"].copy()
        for place, raw in enumerate(argv):
            if raw:
                argv[place] = _masked_arguments(raw)
        return {**columns, "argv": argv}

    def asked(self, request: ProcessRequest) -> ProcessRequest:
        """The request, with the owner if who may see a row depends on it."""
        if not self.reveal or self.sees_everything or OWNER in request.wanted:
            return request
        return replace(request, fields=request.fields | {OWNER})


def _masked_arguments(raw: bytes) -> bytes:
    """NUL-ended arguments; the same object when nothing in them looks like a secret."""
    arguments = tuple(map(decode, raw.removesuffix(b"\0").split(b"\0")))
    masked = mask_argv(arguments)
    return raw if masked is arguments else b"".join(encode(argument) + b"\0" for argument in masked)


class _Count:
    rows = 0


def _treated(rows: Iterable[Row], treat: Callable[[Row], Row], masked: _Count) -> Iterator[Row]:
    for row in rows:
        treated = treat(row)
        masked.rows += treated is not row
        yield treated


def _noted(coverage: Coverage, masked: int, nouns: tuple[str, str]) -> Coverage:
    if not masked:
        return coverage
    rows = f"1 {nouns[0]} has" if masked == 1 else f"{masked} {nouns[1]} have"
    who = "--reveal is for root, an administrator or their owner"
    note = f"{rows} masked arguments, shown or not (what looks like a secret); {who}"
    return replace(coverage, notes=(*coverage.notes, note))


def _viewer(host: Host) -> Process | None:
    """Ourselves, as the host sees us; None when that cannot be read, and then nothing is shown."""
    try:
        return host.processes.read(os.getpid(), ProcessRequest(fields=frozenset({OWNER, ELEVATED})))
    except Error:
        return None


def _is_administrator(viewer: Process) -> bool:
    if viewer.owner is not None and viewer.owner.id in ADMINISTRATORS:
        return True
    return viewer.windows is not None and viewer.windows.token is not None and viewer.windows.token.elevated is True
