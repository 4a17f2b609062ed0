"""Generated documents are what the code says; hand-written ones name what exists."""

import importlib.util
import re
from collections.abc import Callable
from types import ModuleType

import pytest

from tests.contract.source import ROOT, python_files


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["records.md", "commands.md"])
def test_generated_documents_are_current(name: str) -> None:
    render: Callable[[], str] = load().GENERATED[name]
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == render(), "run: make docs"


def test_generated_schemas_are_current() -> None:
    schemas: dict[str, str] = load().render_schemas()
    folder = ROOT / "docs" / "schemas"
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} == schemas, "run: make docs"


NOT_OUTPUT = {"digests", "columns", "recording_end"}
"""Forms of our own files, which nothing else reads, and forms that stand in document.json and recording.json."""


def test_every_form_that_is_named_has_a_schema() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in python_files())
    named = set(re.findall(r'"hostscope\.([a-z_]+)/1', text)) - NOT_OUTPUT
    assert {f"{name}-1.json" for name in named} <= load().render_schemas().keys()
    assert len(named) > 15


def test_every_record_field_is_in_the_table() -> None:
    from hostscope.model.process import Process

    text = load().render_records()
    process = text[text.index("### Process\n") :]
    assert re.findall(r"^\| `(\w+)` \|", process.partition("\n### ")[0], re.MULTILINE) == list(
        Process.__struct_fields__
    )


def test_capabilities_name_code_and_tests_that_exist() -> None:
    for number, line in enumerate((ROOT / "docs" / "capabilities.md").read_text(encoding="utf-8").splitlines(), 1):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| ") or len(cells) != 7 or cells[0] == "capability":
            continue
        for path in re.findall(r"`([\w./-]+)`", " ".join(cells[1:3])):
            places = (ROOT / path, ROOT / "src" / "hostscope" / path, ROOT / "tests" / path)
            assert any(place.exists() for place in places), f"docs/capabilities.md:{number}: {path}"
        if "done" in cells[3:6]:
            assert cells[1] and cells[2], f"docs/capabilities.md:{number}: done, but without code or test"


def test_capabilities_have_one_state_for_each_system() -> None:
    states = {"done", "partly", "planned", "n/a"}
    text = (ROOT / "docs" / "capabilities.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| capability")]
    assert len(rows) > 100
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 7, row
        assert set(cells[3:6]) <= states, row
