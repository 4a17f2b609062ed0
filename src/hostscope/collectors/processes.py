"""Every process."""

import threading
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import closing

from msgspec.structs import replace

from hostscope.collectors.digests import NEEDS, Digests
from hostscope.collectors.lineage import ancestry, arrange, find_parents
from hostscope.collectors.samples import Samples
from hostscope.model.answer import Answer
from hostscope.model.gap import Gap
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.model.tree import TreeRow
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally

RATIO = "cpu.ratio"


def collect(
    host: Host, request: ProcessRequest, samples: Samples | None = None, only: Collection[ProcessKey] | None = None
) -> Answer[Process]:
    """Every process, in ascending pid order, as it is read.

    Args:
        samples: the look before, to fill `cpu.ratio` from instead of looking twice.
        only: the processes to give; the others are skipped.

    Raises:
        UsageError, Unsupported, Denied: see `Processes.sweep`; while iterating.
    """
    tally = Tally()
    return Answer(_rows(host, request, samples, tally, only), lambda: tally.coverage(request.wanted))


def process_tree(host: Host, request: ProcessRequest) -> Answer[TreeRow]:
    """Every process, depth first."""
    answer = collect(host, request)
    return Answer(_arranged(answer), lambda: answer.coverage)


def _arranged(answer: Answer[Process]) -> Iterator[TreeRow]:
    yield from arrange(answer)


def _rows(
    host: Host, request: ProcessRequest, samples: Samples | None, tally: Tally, only: Collection[ProcessKey] | None
) -> Iterator[Process]:
    asked = _asked(request)
    still = next((gap for gap in host.gaps if gap.field == RATIO), None)
    if still is None and samples is None and request.sample_ns is not None:
        samples = _first_look(host, asked, request.sample_ns)
    sampled = samples is not None or request.sample_ns is not None
    rows: Iterator[Process] = _limited(_sweep(host, replace(asked, sample_ns=None), tally), request, tally)
    if still is not None and sampled:
        rows = (_without_ratio(process, still) for process in rows)
    elif samples is not None:
        rows = samples.take(rows)
    if "ancestry" in request.wanted:
        rows = _with_ancestry(rows)
    if only is not None:
        rows = _chosen(rows, {key.pid: key for key in only}, tally)
    if "digest" in request.wanted:
        rows = map(Digests(host).fill, rows)
    if "signature" in request.wanted:
        from hostscope.collectors.signatures import Signatures  # brings cryptography along

        rows = map(Signatures(host).fill, rows)
    for process in rows:
        tally.rows += 1
        if process.gaps:
            tally.count_gaps(process.gaps)
        yield process


def _without_ratio(process: Process, gap: Gap) -> Process:
    """On a host that stands still two looks would show every process idle."""
    lacks = process.cpu is not None and process.cpu.ratio is None
    return replace(process, gaps=(*process.gaps, gap)) if lacks else process


def _asked(request: ProcessRequest) -> ProcessRequest:
    """The request with the fields that its options build on."""
    fields = set(request.wanted)
    if request.skip_system_processes:
        fields.add("state")
    if fields & {"digest", "signature"}:
        fields |= NEEDS
    if request.sample_ns is not None:
        fields.add("cpu")
    return replace(request, fields=frozenset(fields))


def _first_look(host: Host, asked: ProcessRequest, sample_ns: int) -> Samples:
    samples = Samples()
    only_cpu = replace(asked, fields=frozenset({"cpu"}), enhanced=False, sample_ns=None)
    for _ in samples.take(_sweep(host, only_cpu, Tally())):
        pass
    threading.Event().wait(sample_ns / 1e9)
    return samples


def _sweep(host: Host, asked: ProcessRequest, tally: Tally) -> Generator[Process, None, None]:
    yield from host.processes.sweep(asked, tally)


def _limited(rows: Generator[Process, None, None], request: ProcessRequest, tally: Tally) -> Iterator[Process]:
    left = request.max_processes
    with closing(rows):
        for process in rows:
            if request.skip_system_processes and process.kernel:
                tally.skipped += 1
                continue
            if left is not None and left <= 0:
                tally.limited = True
                return
            left = None if left is None else left - 1
            yield process


def _chosen(rows: Iterator[Process], keys: Mapping[int, ProcessKey], tally: Tally) -> Iterator[Process]:
    for process in rows:
        key = keys.get(process.key.pid)
        if key is not None and key.same(process.key):
            yield process
        else:
            tally.skipped += 1


def _with_ancestry(rows: Iterator[Process]) -> Iterator[Process]:
    """Needs every row before the first one can be given: a parent's pid may be the higher one."""
    kept = list(rows)
    parents = find_parents(kept)
    for process in kept:
        yield replace(process, ancestry=ancestry(process, parents))
