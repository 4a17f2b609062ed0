"""Headers of a whole batch at a time.

    batch -> dense (nearly every packet ends here)
          -> link -> plain -> ip -> transport -> tunnel -> plain -> …

Each step behind `dense` takes a `Cursor` and hands on the packets that need more. Steps are whole-array operations over
ever smaller subsets; every read goes through `Cursor`s that were checked against what was captured.
"""

from hostscope.wire import ip, link, tunnel
from hostscope.wire.batch import PacketBatch
from hostscope.wire.cursor import Decoding
from hostscope.wire.decoded import Decoded, Problem
from hostscope.wire.dense import decode_dense, with_rest
from hostscope.wire.fragments import FragmentTable
from hostscope.wire.plain import plain
from hostscope.wire.transport import transport

NESTING = 4
"""IP headers inside one another that are followed."""


def decode(batch: PacketBatch, fragments: FragmentTable | None = None) -> Decoded:
    """What the headers of each packet say. Never raises, whatever the bytes and numbers are.

    Args:
        batch: read only during the call, so a ring may have its frames back afterwards.
        fragments: keeps the ports of datagrams in fragments across batches; without it only inside this one.
    """
    dense = decode_dense(batch)
    if dense is None:
        return _decode_any(batch, fragments)
    out, rest = dense
    return with_rest(out, rest, _decode_any(batch.take(rest), fragments)) if len(rest) else out


def _decode_any(batch: PacketBatch, fragments: FragmentTable | None) -> Decoded:
    """The same for packets of all layouts."""
    run = Decoding(batch)
    if batch.vlan is not None:
        run.out.vlan_outer[:] = batch.vlan
    cursor = link.network(run, batch.link)
    for _ in range(NESTING):
        cursor = plain(run, cursor)
        if not len(cursor):
            break
        cursor = tunnel.carried(run, transport(run, ip.headers(run, cursor)))
    run.mark(cursor.index, Problem.TOO_DEEP)
    if run.out.fragment.any():
        (fragments or FragmentTable(1024)).resolve(run.out)
    return run.out
