"""`make test`'s second half: the tests of everything that is not Linux' own, on Windows' Python.

Without Wine it says so and succeeds. `--again` runs what failed last time once more. `--record` writes what was skipped
into docs/windows.md; other runs say what it lacks.
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
FAILED_LAST = ("--last-failed", "--last-failed-no-failures", "none", "--cov-append")
DOCUMENT = REPOSITORY / "docs" / "windows.md"
COVERAGE = REPOSITORY / ".coverage.windows"
_RECORDED = re.compile(r"(<!-- skips: begin -->\n).*(<!-- skips: end -->\n)", re.DOTALL)


def main(arguments: list[str]) -> int:
    rig, ours = chosen()
    again = "--again" in arguments
    if not again:
        COVERAGE.unlink(missing_ok=True)
    began = time.monotonic()
    obstacle = install.install(rig) if ours else None
    if obstacle:
        print(f"tests on Windows' Python skipped: {obstacle}")
        return 0
    print(f"Windows' Python on {install.wine_version()}: ready after {time.monotonic() - began:.0f} s", flush=True)
    chosen_tests = [one for one in arguments if one not in ("--record", "--again")]
    try:
        code, skipped = _test(rig, [*(FAILED_LAST if again else ()), *(chosen_tests or TESTS)])
    finally:
        if ours:
            subprocess.run(["wineserver", "-k"], env=session.environment(rig), check=False)
    if "--record" in arguments:
        _record(skipped)
    elif not again:
        _compare(skipped)
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
    command = ("-m", "pytest", "-p", "tests.windows.rig.skips", *options, *measured, *arguments)
    code = session.run(rig, command, LIMIT_S)
    if code == session.TIMED_OUT:
        print(f"ended after {LIMIT_S} s")
    return code, [(test, why) for test, why in json.loads(written.read_text())] if written.exists() else []


def _record(skipped: list[tuple[str, str]]) -> None:
    text = "\n".join([f"With {install.wine_version()}, {len(skipped)} tests are skipped:", "", *skips.lines(skipped)])
    document = DOCUMENT.read_text()
    DOCUMENT.write_text(_RECORDED.sub(lambda found: f"{found[1]}{text}\n{found[2]}", document))


def _compare(skipped: list[tuple[str, str]]) -> None:
    """What docs/windows.md does not say, in short: a failure above must not scroll away."""
    said = set(DOCUMENT.read_text().splitlines())
    unsaid = [line for line in skips.lines(skipped) if line not in said]
    print(f"{len(skipped)} tests were skipped, for reasons that docs/{DOCUMENT.name} lists", end="")
    print(" but for (make windows-skips writes them):" if unsaid else "")
    for line in unsaid:
        print(line if len(line) <= 200 else line[:199] + "…")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
