"""Everything about one process, with reasons, and gaps where something fails."""

from hostscope.collectors.inspection import inspect, inspect_host
from hostscope.errors import Denied
from hostscope.model.container import Container
from hostscope.model.detail import ProcessDetail, Thread
from hostscope.model.gap import Gap, Reason
from hostscope.model.linux import LinuxContext
from hostscope.model.process import Session
from hostscope.model.service import Service, ServiceState
from tests.fake import Answers, host, key, process

UNIT = ServiceState("web.service", "systemd", start_mode="enabled", main_pid=20)
WEB = process(20, "web", 5, service=Service("web.service", "systemd"), container=Container("docker", "c0ffee" * 4))


def test_says_why_it_runs() -> None:
    rows = [process(1, "init", 0), process(5, "shim", 1), WEB]
    found = inspect(host(*rows, answers=Answers(services=[UNIT])), "web")
    assert found.why == (
        "it belongs to the docker container c0ffeec0ffee",
        "systemd runs it as web.service, start mode enabled, as its main process",
        "its parent is shim (5@5)",
    )
    assert [ancestor.name for ancestor in found.ancestors] == ["shim", "init"]
    assert [ancestor.name for ancestor in found.process.ancestry or ()] == ["shim", "init"]
    assert found.unit == UNIT
    assert found.process.digest is not None
    assert found.gaps == ()


def test_logins_terminals_kernel_threads_and_orphans() -> None:
    shell = process(9, "sh", 404, session=Session(9, 9, "pts/1"), linux=LinuxContext(login_uid=1000))
    thread = process(2, "kthreadd", 0, kernel=True, exe=None)
    box = host(process(1, "init", 0), thread, shell)
    assert inspect(box, "9").why == (
        "it runs on terminal pts/1",
        "it belongs to a login of user id 1000",
        "its parent has ended or cannot be seen",
    )
    assert inspect(box, "2").why == ("it is a thread of the kernel",)
    assert inspect(box, "1").why == ()


def test_what_fails_is_a_gap() -> None:
    found = inspect(host(process(1, "init", 0), WEB), "20")
    assert found.unit is None
    assert found.gaps == (Gap("unit", Reason.GONE, "there is no unit web.service"),)


def test_detail_is_what_the_host_gives() -> None:
    threads = (Thread(1, "init", "sleeping", 0, 0, 0, None),)
    assert inspect(host(process(1), details={1: ProcessDetail(threads=threads)}), "1").detail.threads == threads


def test_the_host_inspects_itself() -> None:
    found = inspect_host(host(answers=Answers(security=Denied("no"))))
    assert found.info.hostname == "box"
    assert found.security is None
    assert found.gaps == (Gap("security", Reason.DENIED, "no"),)
    assert found.privileges == ("sys_ptrace",)
    assert key(1).pid == 1
