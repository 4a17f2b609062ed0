"""A message bus of a test's own: a real dbus-daemon."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.system.commands import need

CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
<type>system</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow own="*"/><allow send_type="*"/><allow receive_type="*"/><allow user="*"/></policy>
</busconfig>
"""


@contextmanager
def private_bus(folder: Path) -> Iterator[str]:
    """The address of a bus whose socket and configuration are in `folder`."""
    command, socket = need("dbus-daemon", "dbus-daemon"), folder / "bus"
    (folder / "bus.conf").write_text(CONFIGURATION.format(socket=socket))
    daemon = subprocess.Popen(
        [command, f"--config-file={folder}/bus.conf", "--nofork", "--nopidfile", "--nosyslog", "--print-address"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert daemon.stdout is not None and daemon.stdout.readline().startswith("unix:")
        yield f"unix:path={socket}"
    finally:
        daemon.terminate()
        daemon.communicate(timeout=60)
