"""The network verbs of a session on this host."""

from hostscope.platforms.base import Host
from hostscope.session.exits import Exit


class NetworkVerbs:
    """Part of `LocalSession`: sockets, traffic, capture, interfaces, name resolution."""

    _host: Host
    _exit: Exit
