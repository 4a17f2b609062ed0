"""`python -m tests.windows.rig ARGS...`: Windows' Python, with hostscope and the tests on its path.

HOSTSCOPE_WINE=DIR uses the rig in DIR as it is; without it, .venv/wine is made on first use.
"""

import sys

from tests.windows.rig import install, session
from tests.windows.rig.places import chosen


def main() -> int:
    rig, ours = chosen()
    obstacle = install.install(rig) if ours else None
    if obstacle:
        print(f"no Windows Python: {obstacle}", file=sys.stderr)
        return 1
    return session.run(rig, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
