"""Every record survives JSON, and says what it is."""

import inspect
import pkgutil
import re
from importlib import import_module
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hostscope.model
from hostscope.model.answer import Answer
from hostscope.model.coverage import Coverage, GapCount
from hostscope.model.gap import Gap, Reason
from hostscope.model.key import ProcessKey
from hostscope.model.process import Account, Executable, Process
from hostscope.model.request import BASIC, ENHANCED, FIELDS, FULL, ProcessRequest
from hostscope.model.security import POWERS, Power, Security

MODULES = [import_module(f"hostscope.model.{module.name}") for module in pkgutil.iter_modules(hostscope.model.__path__)]
RECORDS: list[type[msgspec.Struct]] = sorted(
    {
        record
        for module in MODULES
        for record in vars(module).values()
        if inspect.isclass(record) and issubclass(record, msgspec.Struct) and record.__module__ == module.__name__
    },
    key=lambda record: record.__name__,
)
SCHEMAS = {
    f"{module.__name__}.{name}": value
    for module in MODULES
    for name, value in vars(module).items()
    if name.endswith("SCHEMA")
}
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
KEYS = st.builds(
    ProcessKey, TEXT, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.none() | st.integers(0, 2)
)


st.register_type_strategy(str, TEXT)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
st.register_type_strategy(int, st.integers(-(2**63), 2**64 - 1))


def instances(record: type[msgspec.Struct]) -> st.SearchStrategy[msgspec.Struct]:
    """Records with any value in each field, nested ones included. JSON has no NaN, and records no lone surrogates."""
    hints = get_type_hints(record)
    return st.builds(record, **{name: st.from_type(hints[name]) for name in record.__struct_fields__})


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(data=st.data())
def test_record_survives_json(record: type[msgspec.Struct], data: st.DataObject) -> None:
    instance = data.draw(instances(record))
    sent = msgspec.json.encode(instance)
    assert msgspec.json.decode(sent, type=record) == instance
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(instance), type=record) == instance


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_record_is_frozen_and_documented(record: type[msgspec.Struct]) -> None:
    assert record.__struct_config__.frozen
    assert record.__doc__


def test_readers_ignore_fields_of_later_versions() -> None:
    key = msgspec.json.decode(b'{"boot_id":"b","pid_ns":1,"pid":2,"start":3,"colour":"red"}', type=ProcessKey)
    assert key == ProcessKey("b", 1, 2, 3)


@pytest.mark.parametrize(("name", "schema"), SCHEMAS.items())
def test_schema_names_record_and_major(name: str, schema: str) -> None:
    assert re.fullmatch(r"hostscope\.[a-z_]+/[1-9][0-9]*", schema), name


def test_schemas_are_distinct() -> None:
    assert len(set(SCHEMAS.values())) == len(SCHEMAS) >= 5
    assert SCHEMAS["hostscope.model.process.SCHEMA"] == "hostscope.process/1"


# Identity -----------------------------------------------------------------------------------------------------------


@given(KEYS, KEYS)
def test_same_is_symmetric_and_follows_equality(one: ProcessKey, other: ProcessKey) -> None:
    assert one.same(other) == other.same(one)
    assert one.same(one)
    if one == other:
        assert one.same(other)


def test_same_compares_serials_that_both_have() -> None:
    plain, first, second = (ProcessKey("b", 1, 2, 3, serial) for serial in (None, 7, 8))
    assert plain.same(first) and first.same(plain) and not first.same(second)
    assert not plain.same(ProcessKey("b", 1, 2, 4))
    assert not plain.same(ProcessKey("c", 1, 2, 3))
    assert not plain.same(ProcessKey("b", 9, 2, 3))


def test_key_as_text() -> None:
    assert str(ProcessKey("b", 1, 2, 3)) == "2@3"
    assert str(ProcessKey("b", 1, 2, 3, 9)) == "2@3#9"


def test_pid_is_the_keys() -> None:
    assert Process(ProcessKey("b", 1, 42, 3), 1, "name").pid == 42


# Requests and answers -----------------------------------------------------------------------------------------------


def test_field_groups_nest() -> None:
    assert BASIC < FULL < ENHANCED == FIELDS.keys() - {"signature"}


def test_enhanced_asks_for_everything() -> None:
    assert ProcessRequest().wanted == BASIC
    assert ProcessRequest(fields=frozenset({"exe"})).wanted == {"exe"}
    assert ProcessRequest(fields=frozenset(), enhanced=True).wanted == ENHANCED
    # Proportional memory stands in the memory record, so it cannot come without that.
    assert ProcessRequest(fields=frozenset({"memory_detail"})).wanted == {"memory_detail", "memory"}


def test_granted_powers() -> None:
    powers = (Power("reboot", True, ()), Power("kill_any", False, ()), Power("change_time", None, ()))
    assert Security(powers, ()).granted == ("reboot",)
    assert all(power.name in POWERS for power in powers)


@pytest.mark.parametrize(
    "short", [{"denied": 1}, {"failed": 1}, {"lost": 1}, {"limited": True}, {"hidden": "hidepid"}], ids=str
)
def test_coverage_is_incomplete_when_rows_are_missing(short: dict[str, Any]) -> None:
    assert Coverage("proc").complete
    assert not Coverage("proc", **short).complete


def test_coverage_is_complete_with_gaps_inside_rows() -> None:
    assert Coverage("proc", vanished=3, gaps=(GapCount("exe", Reason.DENIED, 4),)).complete


def test_answer_streams_and_then_covers() -> None:
    drawn = []

    def rows() -> Any:
        for number in range(3):
            drawn.append(number)
            yield number

    answer = Answer(rows(), lambda: Coverage("proc", rows=len(drawn)))
    assert drawn == []
    assert next(iter(answer)) == 0
    assert drawn == [0]
    assert answer.coverage.rows == 3
    assert answer.rows() == []


def test_reasons_are_words() -> None:
    assert msgspec.json.encode(Gap("exe", Reason.DENIED)) == b'{"field":"exe","reason":"denied","detail":null}'
    assert Executable("/x").replaced is False
    assert Account("0", None).name is None
