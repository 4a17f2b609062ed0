"""Time stamps of any resolution as nanoseconds."""

import numpy as np

from hostscope.wire.batch import I64, U64


def to_ns(ticks: U64, base: int, exponent: int, offset_s: int = 0) -> I64:
    """Nanoseconds for counts of base**-exponent seconds; what no 64 bits can hold wraps around.

    Args:
        base: 2 or 10.
    """
    with np.errstate(over="ignore"):
        nanoseconds = _decimal(ticks, exponent) if base == 10 else _binary(ticks, exponent)
        return nanoseconds.astype(np.int64) + np.int64(_wrapped(offset_s * 1_000_000_000))


def _decimal(ticks: U64, exponent: int) -> U64:
    if exponent <= 9:
        return ticks * np.uint64(10 ** (9 - exponent))
    return ticks // np.uint64(10 ** (exponent - 9)) if exponent - 9 < 20 else np.zeros_like(ticks)


def _binary(ticks: U64, exponent: int) -> U64:
    if exponent >= 64:
        fine = exponent - 63
        return _binary(ticks >> np.uint64(fine), 63) if fine < 64 else np.zeros_like(ticks)
    bits = np.uint64(exponent)
    seconds = ticks >> bits
    fraction = ticks - (seconds << bits)
    # 34 bits of a fraction times a billion still fit into 64.
    spare = max(0, exponent - 34)
    part = (fraction >> np.uint64(spare)) * np.uint64(1_000_000_000) >> np.uint64(exponent - spare)
    return seconds * np.uint64(1_000_000_000) + part


def _wrapped(number: int) -> int:
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)
