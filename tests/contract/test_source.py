"""Rules of the house that can be read off the source."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from hostscope.cli.main import COMMANDS
from hostscope.collectors import COLLECTORS, PARTS
from tests.contract.source import PLATFORMS, ROOT, SRC, imports, modules, parse, python_files

SYSTEM_SWITCHES = {("sys", "platform"), ("os", "name"), ("platform", "system"), ("os", "uname"), ("platform", "uname")}
SHARED_COMMAND_FILES = {
    "acts",
    "endings",
    "main",
    "options",
    "output",
    "progress",
    "refresh",
    "show",
    "sizes",
    "tables",
}
"""Files in cli/ that are no commands."""


def relative(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


def attributes(tree: ast.Module) -> set[tuple[str, str]]:
    """Every ``module.name`` that a file reads, ``from module import name`` included."""
    read = {
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    taken = {
        (node.module or "", alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    return read | taken


def test_one_file_knows_which_system_this_is() -> None:
    readers = {relative(path) for path in python_files() if SYSTEM_SWITCHES & attributes(parse(path))}
    inside = {name for name in readers if re.match(r"platforms/(linux|windows|macos)/", name)}
    assert readers - inside == {"platforms/__init__.py"}
    for name in inside:
        # Inside a system's folder the system is known; its kernel's release is a fact like any other.
        assert ("sys", "platform") not in attributes(parse(SRC / name)), name
        assert ("os", "name") not in attributes(parse(SRC / name)), name


def test_ctypes_is_at_home_in_native() -> None:
    users = {path for path in python_files() if "ctypes" in {name.partition(".")[0] for name in imports(parse(path))}}
    homes = re.compile(r"platforms/(linux|windows|macos)/native(\.py|/.+\.py)")
    assert [relative(path) for path in users if not homes.fullmatch(relative(path))] == []


def test_parsers_do_no_input_or_output() -> None:
    doers = {"os", "subprocess", "ctypes", "mmap", "pathlib", "shutil", "urllib", "asyncio"}
    for path in PLATFORMS.glob("*/parse*.py"):
        tree = parse(path)
        assert not doers & {name.partition(".")[0] for name in imports(tree)}, path
        calls = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"open", "print", "input", "exec", "eval"}, path


@pytest.mark.parametrize("folder", ["src", "tests", "docs"])
def test_no_file_is_longer_than_600_lines(folder: str) -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files(ROOT / folder)}
    assert {str(path): length for path, length in lengths.items() if length > 600} == {}


def functions() -> list[tuple[str, int]]:
    return [
        (f"{relative(path)}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1)
        for path in python_files()
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_functions_are_short() -> None:
    long = [name for name, lines in functions() if lines > 50]
    assert len(long) <= len(functions()) * 0.05, long


def test_no_name_says_nothing() -> None:
    empty = re.compile(r"Manager|Helper|Utils?$|^Base[A-Z]|^(Linux|Windows|Macos)(?!Context|Options)")
    classes = {
        f"{relative(path)}: {node.name}"
        for path in python_files()
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ClassDef) and empty.search(node.name)
    }
    assert classes == set()
    assert [relative(path) for path in python_files() if re.search(r"utils?|helpers?|common|misc", path.stem)] == []


def test_nothing_is_left_to_do() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    assert [relative(path) for path in python_files() if marks.search(path.read_text(encoding="utf-8"))] == []


def test_records_are_frozen() -> None:
    for path in python_files(SRC / "model"):
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ClassDef) and "Struct" in {ast.unparse(base) for base in node.bases}:
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert options.get("frozen") == "True", f"{relative(path)}: {node.name}"


def test_collectors_are_registered() -> None:
    assert set(COLLECTORS) | set(PARTS) == modules(SRC / "collectors")
    assert not set(COLLECTORS) & set(PARTS)


def test_commands_are_registered() -> None:
    assert modules(SRC / "cli") - SHARED_COMMAND_FILES == set(COMMANDS)


def test_every_error_is_in_one_tree() -> None:
    for path in python_files():
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ClassDef) and path != SRC / "errors.py" and not node.name.startswith("_"):
                bases = {ast.unparse(base) for base in node.bases}
                assert not bases & {"Exception", "BaseException"}, f"{relative(path)}: {node.name}"


def test_the_locks_name_no_place() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / lock).read_text(encoding="utf-8")
        assert not re.search(r"://|@ |--(extra-)?index|--find-links|--trusted-host", text), lock
        assert all("--hash=sha256:" in block for block in text.split("\n\n") if block.strip()), lock


def test_the_lock_holds_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    run, dev = (set(re.findall(r"^([\w.-]+)==", (ROOT / name).read_text(), re.MULTILINE)) for name in LOCKS)
    assert {name_of(each) for each in project["project"]["dependencies"]} <= run
    assert run | {name_of(each) for each in project["dependency-groups"]["dev"]} <= dev
    assert {name_of(each) for each in project["project"]["optional-dependencies"]["arrow"]} <= dev


LOCKS = ("requirements.lock", "requirements-dev.lock")


def name_of(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return found.group().lower()


def test_the_import_contracts_name_every_system() -> None:
    text = (ROOT / ".importlinter").read_text(encoding="utf-8")
    for folder in PLATFORMS.glob("*/__init__.py"):
        assert f"hostscope.platforms.{folder.parent.name}" in text
