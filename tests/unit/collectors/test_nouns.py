"""The small tables: counters, containers, services, abilities."""

import threading

from hostscope.collectors import abilities, containers, counters, services
from hostscope.model.container import Container
from hostscope.model.event import Event, ServiceChange
from hostscope.model.gap import Gap, Reason
from hostscope.model.host import Ability
from hostscope.model.service import ServiceState
from tests.fake import COUNTERS, Answers, host


def test_counters_are_one_row() -> None:
    answer = counters.collect(host())
    assert answer.rows() == [COUNTERS]
    assert answer.coverage.rows == 1


def test_containers_services_and_abilities_are_counted() -> None:
    lacking = ServiceState("b.service", "systemd", gaps=(Gap("start_mode", Reason.UNAVAILABLE),))
    box = host(
        answers=Answers(
            containers=[Container("lxc", "a"), Container("podman", "b")],
            services=[ServiceState("a.service", "systemd"), lacking],
            abilities=(Ability("x", True, "always"),),
        )
    )
    assert [row.id for row in containers.collect(box)] == ["a", "b"]
    answer = services.collect(box)
    assert [row.name for row in answer] == ["a.service", "b.service"]
    assert answer.coverage.gaps[0].field == "start_mode"
    assert abilities.collect(box).coverage.rows == 1


def test_changes_end_when_told() -> None:
    event = Event("s", "polling", 0, 0, 0, None, ServiceChange(None, None))
    stop = threading.Event()
    changes = services.changes(host(answers=Answers(events=[event, event])), stop, 1.0)
    assert next(changes) == event
    stop.set()
    assert list(changes) == []
