"""What is particular to macOS."""

from msgspec import Struct


class MacosContext(Struct, frozen=True, gc=False):
    """macOS' own facts about a process."""

    code_signing_flags: tuple[str, ...] | None = None
    team_id: str | None = None
