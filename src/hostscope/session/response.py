"""The verbs of a session on this host that preserve, watch and act."""

from hostscope.platforms.base import Host
from hostscope.session.exits import Exit


class ResponseVerbs:
    """Part of `LocalSession`: memory, events, system calls, acts."""

    _host: Host
    _exit: Exit
