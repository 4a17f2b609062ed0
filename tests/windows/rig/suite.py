"""`make test`'s second half: the tests of everything that is not Linux' own, on Windows' Python.

Without Wine it says so and succeeds. `--record` writes what was skipped into docs/windows.md; other runs say what it
lacks.
"""

import json
import os
import re
import subprocess
import sys
import time

from tests.windows.rig import install, session, skips
from tests.windows.rig.places import REPOSITORY, Rig, chosen, seen_inside

LIMIT_S = 1500
TESTS = ("tests/unit", "tests/windows")
DOCUMENT = REPOSITORY / "docs" / "windows.md"
COVERAGE = REPOSITORY / ".coverage.windows"
_RECORDED = re.compile(r"(<!-- skips: begin -->\n).*(<!-- skips: end -->\n)", re.DOTALL)


def main(arguments: list[str]) -> int:
    rig, ours = chosen()
    COVERAGE.unlink(missing_ok=True)
    began = time.monotonic()
    obstacle = install.install(rig) if ours else None
    if obstacle:
        print(f"tests on Windows' Python skipped: {obstacle}")
        return 0
    print(f"Windows' Python on {install.wine_version()}: ready after {time.monotonic() - began:.0f} s", flush=True)
    try:
        code, skipped = _test(rig, [one for one in arguments if one != "--record"])
    finally:
        if ours:
            subprocess.run(["wineserver", "-k"], env=session.environment(rig), check=False)
    _tell(skipped, "--record" in arguments)
    return code


def _test(rig: Rig, arguments: list[str]) -> tuple[int, list[tuple[str, str]]]:
    written = rig.root / "skips.json"
    written.unlink(missing_ok=True)
    os.environ["COVERAGE_FILE"] = seen_inside(COVERAGE)
    os.environ[skips.WRITE_TO] = seen_inside(written)
    options = (
        "-q",
        "-r",
        "fE",
        "-o",
        f"cache_dir={seen_inside(rig.root / 'pytest')}",
        "-o",
        "faulthandler_timeout=120",
    )
    measured = ("--cov=hostscope", "--cov-report=")
    command = ("-m", "pytest", "-p", "tests.windows.rig.skips", *options, *measured, *(arguments or TESTS))
    code = session.run(rig, command, LIMIT_S)
    if code == session.TIMED_OUT:
        print(f"ended after {LIMIT_S} s")
    return code, [(test, why) for test, why in json.loads(written.read_text())] if written.exists() else []


def _tell(skipped: list[tuple[str, str]], record: bool) -> None:
    now = [f"With {install.wine_version()}, {len(skipped)} tests are skipped:", "", *skips.lines(skipped)]
    print("\n".join(now))
    text = DOCUMENT.read_text()
    if record:
        DOCUMENT.write_text(_RECORDED.sub(lambda found: found[1] + "\n".join(now) + "\n" + found[2], text))
        return
    for line in (line for line in now if line not in text.splitlines()):
        print(f"docs/{DOCUMENT.name} does not say (make windows-skips writes it): {line}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
