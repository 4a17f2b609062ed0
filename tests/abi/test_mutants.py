"""The assertions bite: wrong layouts do not pass."""

import random

import pytest

pytest.importorskip("ziglang", reason="needs the compiler with the systems' headers (pip install ziglang)")

from tests.abi.cpp import TARGETS, Unit, unit
from tests.abi.discover import SYSTEMS, Composite, Declared, declared, modules, spelling
from tests.abi.mutants import mutants

MOST = 600
"""Of each target; chosen at random, the same every time."""
CAUGHT_RATIO = 0.95
CASES = [pytest.param(system, target, id=target) for system in SYSTEMS for target in TARGETS[system]]


@pytest.mark.parametrize(("system", "target"), CASES)
def test_wrong_layouts_are_caught(system: str, target: str) -> None:
    made = unit(system, target, spelling(system))
    wrong = _wrong(made, [declared(module) for module in modules(system)])
    if not wrong:
        pytest.skip(f"no module has a layout for {target}")
    for number, (_, structure) in enumerate(wrong):
        made.structure(f"mutant-{number}", structure.__name__, structure)
    caught = made.failures(target)
    survivors = [label for number, (label, _) in enumerate(wrong) if f"mutant-{number}" not in caught]
    print(f"{target}: {len(wrong)} wrong layouts, {len(survivors)} not caught: {survivors}")
    assert len(survivors) <= (1 - CAUGHT_RATIO) * len(wrong), survivors


def _wrong(made: Unit, found: list[Declared]) -> list[tuple[str, Composite]]:
    """Wrong layouts of what is asserted on this target."""
    rng = random.Random(7)
    right = [
        structure
        for module in found
        for name, structure in sorted(module.structures.items())
        if not name.startswith("_") and made.covers(name)
    ]
    wrong = [
        mutant
        for structure in right
        for mutant in mutants(structure, rng)
        if mutant[0].split(" of ")[1] not in made.spelling.absent
    ]
    return rng.sample(wrong, MOST) if len(wrong) > MOST else wrong
