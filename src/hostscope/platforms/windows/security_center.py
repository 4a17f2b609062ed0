"""Products that registered with the Security Center, by Windows Management Instrumentation."""

from collections.abc import Iterator

from hostscope.model.security import Antivirus
from hostscope.model.text import decode_str
from hostscope.platforms.windows.antivirus import read_products, state_of
from hostscope.platforms.windows.native import wbem

NAMESPACE = "ROOT\\SecurityCenter2"
CLASSES = {"AntiVirusProduct": "antivirus", "AntiSpywareProduct": "antispyware", "FirewallProduct": "firewall"}
PROPERTIES = ("displayName", "productState", "pathToSignedProductExe")
WBEM_E_INVALID_NAMESPACE = 0x8004100E


def products() -> tuple[Antivirus, ...]:
    """Each product as it registered itself; where there is no Security Center (servers), what the registry keeps.

    Raises:
        SystemRefused, Unsupported, ValueError
    """
    try:
        return tuple(product for name, kind in CLASSES.items() for product in _of_class(name, kind))
    except OSError as failed:
        if getattr(failed, "winerror", None) == WBEM_E_INVALID_NAMESPACE:
            return read_products()
        raise


def _of_class(name: str, kind: str) -> Iterator[Antivirus]:
    for row in wbem.query(NAMESPACE, f"SELECT {', '.join(PROPERTIES)} FROM {name}", PROPERTIES):
        title, state, program = (row[key] for key in PROPERTIES)
        if isinstance(title, str):
            on, fresh = state_of(state) if isinstance(state, int) else (None, None)
            path = decode_str(program) if isinstance(program, str) else None
            yield Antivirus(decode_str(title), kind, on, fresh, path, "security-center")
