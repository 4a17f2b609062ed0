"""Functions of a dynamic library, bound by their signatures when they are first called."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from hostscope.errors import Unsupported

Signature = tuple[Any, tuple[Any, ...]]
"""Result type and argument types."""


class Functions(ABC):
    """Those of one library, as attributes. Tests set an attribute to script what the system answers."""

    elsewhere = ""
    """Who has a function that is missing here."""

    def __init__(self, name: str, signatures: Mapping[str, Signature]) -> None:
        self.name = name
        self.signatures = signatures
        self._loaded: Any = None

    @abstractmethod
    def load(self) -> Any:
        """The library by its name.

        Raises:
            OSError: it is not here.
        """

    def __getattr__(self, function: str) -> Callable[..., Any]:
        if function.startswith("_") or function not in self.signatures:
            raise AttributeError(f"{self.name} has no signature of {function}")
        bound = self._bind(function)
        setattr(self, function, bound)
        return bound

    def _bind(self, function: str) -> Callable[..., Any]:
        result, arguments = self.signatures[function]
        try:
            if self._loaded is None:
                self._loaded = self.load()
            bound: Any = getattr(self._loaded, function)
        except (AttributeError, OSError) as missing:
            raise Unsupported(f"{self.name} has no {function} here", self.elsewhere) from missing
        bound.restype, bound.argtypes = result, list(arguments)
        return bound  # type: ignore[no-any-return]
