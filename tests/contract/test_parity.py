"""The four platforms answer the same questions under the same names."""

import ast
from pathlib import Path

import pytest

from tests.contract.source import PLATFORMS, parse

SYSTEMS = ("linux", "windows", "macos")
FOLDERS = (*SYSTEMS, "replay")
BASES = sorted(PLATFORMS.glob("base*.py"))
"""What can be asked, by area."""
FILES = {
    "Processes": "processes",
    "Security": "security",
    "Files": "files",
    "Packages": "packages",
    "Containers": "containers",
    "Services": "services",
    "Sockets": "sockets",
    "Traffic": "traffic",
    "Capture": "capture",
    "Interfaces": "interfaces",
    "Resolvers": "resolvers",
    "Memory": "memory",
    "Events": "events",
    "Syscalls": "syscalls",
    "Counters": "counters",
    "System": "system",
    "Privileges": "privileges",
    "Console": "console",
    "Control": "control",
    "Autostart": "autostart",
}
"""The file of each Protocol."""
GIVEN = {"Meter", "PacketSource", "AddressSpace", "Spawned"}
"""Protocols of what those give while it is open: each folder has its own classes for them."""
NOT_OF_THE_HOST = {"Control", "Console", "Autostart"}
"""What acts, and what belongs to the program."""
SHARED = {"host", "parse", "translate"}
"""Files that every folder has besides: the wiring, pure parsers, errors."""
OPENERS = {"linux": "() -> Host", "windows": "() -> Host", "macos": "() -> Host", "replay": "(path: str) -> Host"}


def signature(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Names, kinds, annotations, defaults and result, as written; quotes around a name mean nothing."""
    asynchronous = "async " if isinstance(function, ast.AsyncFunctionDef) else ""
    result = ast.unparse(function.returns) if function.returns else "?"
    decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
    if decorators == ["contextmanager"]:
        # What callers see of it.
        decorators, result = [], result.replace("Iterator[", "AbstractContextManager[", 1)
    marks = "".join(f"@{decorator} " for decorator in decorators)
    return f"{marks}{asynchronous}({ast.unparse(function.args)}) -> {result}".replace("'", "")


def public_methods(cls: ast.ClassDef) -> dict[str, str]:
    functions = (node for node in cls.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {function.name: signature(function) for function in functions if not function.name.startswith("_")}


def class_of(path: Path, name: str) -> ast.ClassDef:
    found = [node for node in parse(path).body if isinstance(node, ast.ClassDef) and node.name == name]
    assert len(found) == 1, f"{path} defines no class {name}"
    return found[0]


def protocols() -> dict[str, ast.ClassDef]:
    classes = (node for file in BASES for node in parse(file).body if isinstance(node, ast.ClassDef))
    return {cls.name: cls for cls in classes if any(ast.unparse(base) == "Protocol" for base in cls.bases)}


def origins(path: Path) -> dict[str, str]:
    """Where each name of a file comes from, so that two types of one name are told apart."""
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_every_protocol_has_a_file() -> None:
    assert protocols().keys() - GIVEN == FILES.keys()


def test_host_has_every_protocol_but_control_and_console() -> None:
    host = class_of(PLATFORMS / "base.py", "Host")
    fields = {
        node.target.id: ast.unparse(node.annotation)
        for node in host.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    expected = {file: protocol for protocol, file in FILES.items() if protocol not in NOT_OF_THE_HOST}
    assert {name: kind for name, kind in fields.items() if name not in ("name", "gaps", "at_ns")} == expected


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_same_files_stand_in_every_folder(folder: str) -> None:
    files = {path.stem for path in (PLATFORMS / folder).glob("*.py")}
    assert sorted((SHARED | set(FILES.values())) - files) == []


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("protocol", FILES)
def test_methods_have_the_signatures_of_their_protocol(folder: str, protocol: str) -> None:
    asked = public_methods(protocols()[protocol])
    answered = public_methods(class_of(PLATFORMS / folder / f"{FILES[protocol]}.py", protocol))
    # What a class offers besides is for its own folder: nobody else sees more than the Protocol.
    assert {name: answered.get(name) for name in asked} == asked


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("protocol", FILES)
def test_signatures_mean_the_same_types(folder: str, protocol: str) -> None:
    path = PLATFORMS / folder / f"{FILES[protocol]}.py"
    theirs, ours = {name: where for file in BASES for name, where in origins(file).items()}, origins(path)
    words = {
        node.id
        for function in class_of(path, protocol).body
        if isinstance(function, ast.FunctionDef) and function.name in public_methods(protocols()[protocol])
        for annotation in (function.returns, *(argument.annotation for argument in function.args.args))
        if annotation is not None
        for node in ast.walk(annotation)
        if isinstance(node, ast.Name)
    }
    asked = words & (theirs.keys() - GIVEN)
    assert {word: ours.get(word) for word in asked} == {word: theirs[word] for word in asked}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_opens_its_host_alike(folder: str) -> None:
    functions = {
        node.name: signature(node)
        for node in parse(PLATFORMS / folder / "host.py").body
        if isinstance(node, ast.FunctionDef)
    }
    assert functions["open_host"] == OPENERS[folder]


@pytest.mark.parametrize("system", SYSTEMS)
def test_errors_are_translated_under_the_same_names(system: str) -> None:
    linux, other = (
        {
            node.name: signature(node)
            for node in parse(PLATFORMS / folder / "translate.py").body
            if isinstance(node, ast.FunctionDef) and node.name in ("error", "gap")
        }
        for folder in ("linux", system)
    )
    assert linux.keys() == {"error", "gap"}
    assert other == linux
