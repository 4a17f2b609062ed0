"""A Python child whose script prints one line of JSON when it is ready, and that ends when its input does."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

NOBODY = 65534
"""A user without privileges that every system has."""

# All is imported before: the interpreter may lie in a directory that only root may enter. A process that changed its
# user is not dumpable, which would hide it from itself; one that started as that user is.
_DROP = f"""
import ctypes, encodings.idna, grp, hashlib, importlib, json, os, pkgutil, pwd, sys
import hostscope
for module in pkgutil.walk_packages(hostscope.__path__, "hostscope."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
os.setgroups([]); os.setresgid({NOBODY}, {NOBODY}, {NOBODY}); os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
"""
_WAIT = "\nimport json, sys\nprint(json.dumps(told), flush=True)\nsys.stdin.readline()\n"


@contextmanager
def told_child(
    script: str, prefix: Sequence[str] = (), drop: bool = False, before: str = "", **options: Any
) -> Iterator[tuple[int, Any]]:
    """Runs `script`, which sets ``told``.

    Args:
        prefix: a command that starts the child (it must exec, so that the pid stays).
        drop: the child gives up root for `NOBODY` before it runs the script.
        before: what it runs as root before that.
        options: for `subprocess.Popen`.

    Yields:
        The child's pid and what it told.
    """
    command = [*prefix, sys.executable, "-c", before + _DROP * drop + script + _WAIT]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)
    assert child.stdin and child.stdout
    try:
        line = child.stdout.readline()
        if not line:
            raise RuntimeError(f"the child ended with {child.wait(60)}")
        yield child.pid, json.loads(line)
    finally:
        child.stdin.close()
        child.stdout.close()
        child.wait(60)


def run_told(script: str, prefix: Sequence[str] = (), drop: bool = False, before: str = "", **options: Any) -> Any:
    """What a child tells that runs to its end."""
    with told_child(script, prefix, drop, before, **options) as (_, told):
        return told
