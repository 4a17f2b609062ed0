"""Every structure, constant and signature of the native modules holds in C, on every machine it is for."""

import pytest

pytest.importorskip("ziglang", reason="needs the compiler with the systems' headers (pip install ziglang)")

from tests.abi.cpp import TARGETS, unit
from tests.abi.discover import SYSTEMS, Declared, declared, modules, parts, spelling

MODULES = {system: [declared(module) for module in modules(system)] for system in SYSTEMS}
CASES = [
    pytest.param(system, target, module.name, id=f"{target}-{module.name}")
    for system in SYSTEMS
    for target in TARGETS[system]
    for module in MODULES[system]
]


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, list[str]]]:
    """Target -> module -> what does not hold. One translation unit for each target."""
    return {}


@pytest.mark.parametrize(("system", "target", "module"), CASES)
def test_declarations_hold(system: str, target: str, module: str, found: dict[str, dict[str, list[str]]]) -> None:
    if target not in found:
        found[target] = unit(system, target, spelling(system), MODULES[system]).failures(target)
    wrong = found[target].get(module, [])
    assert not wrong, "\n".join(dict.fromkeys(wrong))


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_structure_is_asserted(system: str) -> None:
    """Those with an underscore are asserted within the structures that embed them."""
    exempt = spelling(system).absent
    embedded = {
        part.__name__
        for module in MODULES[system]
        for name, structure in module.structures.items()
        if name not in exempt
        for part in parts(structure)
    }
    hidden = {name for module in MODULES[system] for name in module.structures if name.startswith("_")}
    assert hidden - embedded - set(exempt) == set()


@pytest.mark.parametrize("system", SYSTEMS)
def test_exceptions_are_real_and_reasoned(system: str) -> None:
    spelt = spelling(system)
    known = {name for module in MODULES[system] for name in _names(module)}
    for names in (spelt.absent, spelt.paths, spelt.targets, spelt.booleans):
        assert set(names) - known == set()
    assert [name for name, reason in spelt.absent.items() if len(reason) < 10] == []


def _names(module: Declared) -> set[str]:
    fields = {
        f"{name}.{member[0]}"
        for name, structure in module.structures.items()
        for member in getattr(structure, "_fields_", ())
    }
    return fields | {*module.structures, *module.scalars, *module.constants, *module.signatures}
