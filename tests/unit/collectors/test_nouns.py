"""The small tables: counters, containers, services, abilities."""

import dataclasses
import threading
from pathlib import Path

from hostscope.collectors import abilities, containers, counters, services
from hostscope.model.container import Container
from hostscope.model.event import Event, ServiceChange
from hostscope.model.gap import Gap, Reason
from hostscope.model.host import Ability
from hostscope.model.request import ProcessRequest
from hostscope.model.service import ScmEntry, ServiceState
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


def test_the_code_of_services_is_judged_on_request(tmp_path: Path) -> None:
    code = tmp_path / "code.dll"
    code.write_bytes(b"not signed")
    entries = (
        ScmEntry("share-process", program="/no/such/svchost.exe", library=str(code)),
        ScmEntry("share-process", program="/no/such/svchost.exe", library=str(code)),
        ScmEntry("own-process", program="/no/such/svchost.exe"), ScmEntry("own-process"), None,
    )  # fmt: skip
    box = host(answers=Answers(services=[ServiceState(str(n), "scm", scm=one) for n, one in enumerate(entries)]))
    answer = services.collect(box, ProcessRequest(fields=frozenset({"signature"})))
    rows = answer.rows()
    assert [row.signature and row.signature.status for row in rows] == ["unsigned", "unsigned", None, None, None]
    assert [gap.field for row in rows for gap in row.gaps] == ["signature"]
    assert [count.rows for count in answer.coverage.gaps] == [1]
    assert not any(row.signature for row in services.collect(box))
    recorded = dataclasses.replace(box, name="replay")
    refused = services.collect(recorded, ProcessRequest(fields=frozenset({"signature"}))).rows()
    assert {gap.reason for row in refused for gap in row.gaps} == {Reason.UNSUPPORTED}


def test_changes_end_when_told() -> None:
    event = Event("s", "polling", 0, 0, 0, None, ServiceChange(None, None))
    stop = threading.Event()
    changes = services.changes(host(answers=Answers(events=[event, event])), stop, 1.0)
    assert next(changes) == event
    stop.set()
    assert list(changes) == []
