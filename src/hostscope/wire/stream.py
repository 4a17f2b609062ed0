"""Bytes in order from pieces in any order: one direction of a connection, bounded."""


class Stream:
    """Pieces of a byte stream, put together.

    Where two pieces claim the same place, what came first stays: a receiver has read it by then.
    """

    def __init__(self, limit_bytes: int = 1 << 17, limit_pieces: int = 64) -> None:
        """Holds at most `limit_bytes`, and `limit_pieces` that lie behind a hole."""
        self._limit_bytes = limit_bytes
        self._limit_pieces = limit_pieces
        self._start = 0
        self._ready = bytearray()
        self._ahead: dict[int, bytes] = {}
        self._ahead_bytes = 0

    @property
    def ready(self) -> bytes:
        """What is there without a hole, from the first byte that was not taken yet."""
        return bytes(self._ready)

    @property
    def end(self) -> int:
        """Place in the stream of the first byte that is missing."""
        return self._start + len(self._ready)

    def add(self, offset: int, data: bytes) -> bool:
        """Puts a piece at its place; False when it would break a bound, and is not kept."""
        if offset + len(data) <= self.end:
            return True
        if offset + len(data) - self._start + self._ahead_bytes > self._limit_bytes:
            return False
        if offset > self.end:
            return self._put_ahead(offset, data)
        self._ready += data[self.end - offset :]
        self._join()
        return True

    def _put_ahead(self, offset: int, data: bytes) -> bool:
        known = self._ahead.get(offset, b"")
        if len(data) <= len(known):
            return True
        if not known and len(self._ahead) >= self._limit_pieces:
            return False
        self._ahead_bytes += len(data) - len(known)
        self._ahead[offset] = known + data[len(known) :]
        return True

    def _join(self) -> None:
        for offset in sorted(self._ahead):
            if offset > self.end:
                return
            data = self._ahead.pop(offset)
            self._ahead_bytes -= len(data)
            self._ready += data[self.end - offset :] if offset + len(data) > self.end else b""

    def take(self, count: int) -> bytes:
        """Gives the first `count` bytes of what is ready, and drops them."""
        taken = bytes(self._ready[:count])
        del self._ready[:count]
        self._start += len(taken)
        return taken
