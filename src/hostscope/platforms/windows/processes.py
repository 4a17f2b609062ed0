"""Every process, or one. Windows: not built yet."""

from collections.abc import Iterator

from hostscope.model.detail import ProcessDetail
from hostscope.model.host import ProcessView
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.platforms.base import Columns
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.translate import not_built


class Processes:
    """Answers `Unsupported` for now."""

    def sweep(self, request: ProcessRequest, tally: Tally) -> Iterator[Process]:
        raise not_built("listing processes")

    def columns(self, request: ProcessRequest, tally: Tally) -> Columns:
        raise not_built("listing processes in columns")

    def read(self, pid: int, request: ProcessRequest) -> Process:
        raise not_built("reading a process")

    def detail(self, key: ProcessKey, parts: frozenset[str]) -> ProcessDetail:
        raise not_built("what a process holds")

    def views(self) -> Iterator[ProcessView]:
        raise not_built("views of the process list")
