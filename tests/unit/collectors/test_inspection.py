"""Everything about one process, with reasons, and gaps where something fails."""

import dataclasses
from pathlib import Path

from msgspec.structs import replace

from hostscope.collectors.inspection import inspect, inspect_host
from hostscope.errors import Denied
from hostscope.model.container import Container
from hostscope.model.detail import Module, ProcessDetail, Thread
from hostscope.model.gap import Gap, Reason
from hostscope.model.linux import LinuxContext
from hostscope.model.process import Executable, Session
from hostscope.model.service import Service, ServiceState
from hostscope.render.process_page import render_process
from tests.fake import Answers, host, key, process

UNIT = ServiceState("web.service", "systemd", start_mode="enabled", main_pid=20)
WEB = process(20, "web", 5, service=Service("web.service", "systemd"), container=Container("docker", "c0ffee" * 4))


def test_modules_are_judged_on_request(tmp_path: Path) -> None:
    script = tmp_path / "plugin.so"
    script.write_bytes(b"#!/bin/sh\n")
    modules = tuple(Module(Path(path).name, path, 0, 1) for path in (str(script), str(script), "/no/such/file.so"))
    image = replace(process(1), exe=Executable(str(script)))
    box = host(image, details={1: ProcessDetail(modules=modules)}, answers=Answers(images={1: str(script)}))
    found = inspect(box, "1", signatures=True)
    assert found.process.signature and found.process.signature.path == str(script)
    judged = [module.signature and module.signature.status for module in found.detail.modules or ()]
    assert judged == ["unsigned", "unsigned", None]
    assert [(gap.field, gap.reason) for gap in found.detail.gaps] == [("modules.signature", Reason.UNAVAILABLE)]
    page = render_process(found)
    assert "unsigned" in page.partition("\nModules\n")[2] and "SIGNATURE" in page and "\n  signature" in page
    quick = inspect(box, "1")
    assert quick.process.signature is None and quick.detail.modules == modules
    assert "SIGNATURE" not in render_process(quick)


def test_what_took_the_place_of_a_deleted_module_is_not_judged_for_it(tmp_path: Path) -> None:
    (tmp_path / "plugin.so").write_bytes(b"another file")
    modules = (Module("plugin.so", str(tmp_path / "plugin.so"), 0, 1, deleted=True),)
    found = inspect(host(process(1), details={1: ProcessDetail(modules=modules)}), "1", signatures=True)
    assert found.detail.modules == modules
    assert [(gap.field, gap.reason) for gap in found.detail.gaps] == [("modules.signature", Reason.UNSUPPORTED)]
    assert "plugin.so (deleted)" in render_process(found)


def test_files_of_a_recording_are_not_looked_for_here(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"another file")
    modules = (Module("x", str(tmp_path / "x"), 0, 1),)
    box = dataclasses.replace(host(process(1), details={1: ProcessDetail(modules=modules)}), name="replay")
    found = inspect(box, "1", signatures=True)
    assert found.detail.modules == modules
    assert found.detail.gaps[0].reason is Reason.UNSUPPORTED


def test_modules_of_another_root_are_not_looked_for_here() -> None:
    box = host(replace(process(1), root="/srv/chroot"), details={1: ProcessDetail(modules=(Module("x", "/x", 0, 1),))})
    (gap,) = inspect(box, "1", signatures=True).detail.gaps
    assert (gap.field, gap.reason) == ("modules.signature", Reason.UNSUPPORTED)


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
