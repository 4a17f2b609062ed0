"""How random bytes are."""

from math import log2

import numpy


def entropy(content: bytes | memoryview) -> float | None:
    """Shannon entropy in bits a byte: 0 for one value only, 8 for all equally often; None without bytes.

    Encrypted and compressed data lie above 7.9 in samples of 64 KiB and more, machine code at about 6, text at 4 to 5.
    """
    if not len(content):
        return None
    counts = numpy.bincount(numpy.frombuffer(content, numpy.uint8), minlength=256)
    shares = [count / len(content) for count in counts.tolist() if count]
    return abs(float(sum(share * log2(share) for share in shares)))
