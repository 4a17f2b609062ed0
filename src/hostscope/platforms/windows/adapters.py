"""The adapters of this host, which interfaces and resolvers are made of."""

from hostscope.platforms.windows import translate
from hostscope.platforms.windows.native import netioapi
from hostscope.platforms.windows.parse_network import Adapter, parse_adapters


def read_adapters() -> list[Adapter]:
    """Every adapter of our network compartment, those that are down included. Source: GetAdaptersAddresses.

    Cost: one call, 1 ms or more.

    Raises:
        Denied, NativeError, Unsupported
    """
    try:
        return parse_adapters(*netioapi.adapters())
    except OSError as failed:
        raise translate.error("GetAdaptersAddresses", failed) from failed
