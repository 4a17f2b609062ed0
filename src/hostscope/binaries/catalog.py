"""Telling Windows' catalogue files (.cat) and trust lists (.stl) by their first bytes. Pure.

Apart from `hostscope.binaries.authenticode`, which brings its libraries along, because every file is asked.
"""

SIGNED_DATA = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"
"""The object identifier of a signed message, encoded."""
LONGEST_HEAD = 32


def is_catalog(head: bytes) -> bool:
    """Whether a file that begins so may be one: a SEQUENCE that begins with signedData's identifier."""
    return head[:1] == b"\x30" and SIGNED_DATA in head[:LONGEST_HEAD]
