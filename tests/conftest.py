"""What all tests share: markers that skip with a reason, and looking at this host by each method."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.zoo import build

if TYPE_CHECKING:
    from tests.zoo.sight import Look

LINUX = Path(__file__).parent / "unit" / "platforms" / "linux"
MACOS = LINUX.parent / "macos"
PARSERS = {
    f"test_{name}.py"
    for name in ("btf", "capabilities", "cgroups", "core", "file_capabilities", "parse", "parse_resolv")
}

ON_WINE = sys.platform == "win32"
# A machine that stalls for seconds fails no example; one that takes minutes is ended with its test. On Wine, time says
# nothing about us; and the examples that Linux tries need not all be tried again.
settings.register_profile(
    "hostscope", deadline=None if ON_WINE else 20_000, max_examples=25 if ON_WINE else 100, print_blob=True
)
settings.load_profile("hostscope")


def pytest_configure() -> None:
    """Tests end commands with SIGINT, which whatever runs in a shell's background ignores, and so do its children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    no_root = pytest.mark.skip(reason="needs root")
    not_here = pytest.mark.skip(reason=f"looks at a real Linux host; this is {sys.platform}")
    for item in items:
        if (posix := item.get_closest_marker("posix")) and os.name != "posix":
            item.add_marker(pytest.mark.skip(reason=f"POSIX only: {posix.args[0]}"))
        if item.get_closest_marker("root") and (not hasattr(os, "geteuid") or os.geteuid() != 0):
            item.add_marker(no_root)
        if item.get_closest_marker("system") and sys.platform != "linux":
            item.add_marker(not_here)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """What calls Linux is imported on Linux only, its parsers everywhere; what calls macOS, not on Windows."""
    if sys.platform == "win32" and collection_path == MACOS:
        return True
    if sys.platform == "linux" or LINUX not in collection_path.parents or collection_path.is_dir():
        return None
    return None if collection_path.name in {*PARSERS, "__init__.py"} else True


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests, and the commands they run, have a trail and caches of their own; what was built is removed."""
    from hostscope.platforms import keep_files_private

    keep_files_private()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOSTSCOPE_AUDIT", str(tmp_path_factory.mktemp("audit") / "audit.jsonl"))
        patch.setenv("HOSTSCOPE_CACHE", str(tmp_path_factory.mktemp("cache") / "hostscope"))
        yield
    build.clear()


@pytest.fixture(params=("iterator", "proc"))
def look(request: pytest.FixtureRequest) -> "Look":
    """Sees one process, by each method of Linux in turn."""
    from tests.zoo.sight import Look

    return Look(request.param)
