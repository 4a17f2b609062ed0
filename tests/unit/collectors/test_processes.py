"""Processes as they are collected: options, samples, digests, ancestry, and what is counted."""

import dataclasses

import pytest

from hostscope.collectors.processes import collect, process_tree
from hostscope.collectors.samples import Samples
from hostscope.errors import Denied, Unavailable, Unsupported
from hostscope.model.coverage import GapCount
from hostscope.model.gap import Gap, Reason
from hostscope.model.linux import LinuxContext, Namespaces
from hostscope.model.package import FileOwner
from hostscope.model.process import Cpu, Digest, Executable
from hostscope.model.request import ProcessRequest
from tests.fake import Answers, FakeProcesses, host, key, process, with_gaps

DIGEST = frozenset({"digest"})


def test_rows_stream_and_are_counted() -> None:
    gap = Gap("io", Reason.DENIED, "needs ptrace")
    answer = collect(host(process(1), with_gaps(process(2), gap), with_gaps(process(3), gap)), ProcessRequest())
    assert next(iter(answer)).key.pid == 1
    covered = answer.coverage
    assert (covered.method, covered.seen, covered.rows) == ("fake", 3, 3)
    assert covered.gaps == (GapCount("io", Reason.DENIED, 2, "needs ptrace"),)
    assert "io" in covered.not_asked
    assert "exe" not in covered.not_asked


def test_system_processes_are_left_out_and_counted() -> None:
    rows = [process(1), process(2, kernel=True), process(3)]
    look = host(*rows)
    answer = collect(look, ProcessRequest(fields=frozenset({"exe"}), skip_system_processes=True))
    assert [row.key.pid for row in answer] == [1, 3]
    assert answer.coverage.skipped == 1
    assert isinstance(look.processes, FakeProcesses)
    assert look.processes.requests[0].fields == {"exe", "state"}


def test_a_limit_stops_the_sweep_and_says_so() -> None:
    answer = collect(host(*(process(pid) for pid in range(1, 10))), ProcessRequest(max_processes=2))
    assert [row.key.pid for row in answer] == [1, 2]
    assert answer.coverage.limited
    assert answer.coverage.seen == 3
    assert not collect(host(process(1)), ProcessRequest(max_processes=1)).coverage.limited


def test_two_samples_give_the_share_of_those_that_were_there_twice() -> None:
    first = [process(1, cpu=Cpu(0, 0)), process(2, cpu=Cpu(0, 0))]
    reused = process(2, cpu=Cpu(10**9, 0))
    again = [process(1, cpu=Cpu(5_000_000, 5_000_000)), type(reused)(key(2, 77), 1, "new", cpu=reused.cpu)]
    rows = collect(host(sweeps=[first, again]), ProcessRequest(sample_ns=10_000_000)).rows()
    assert rows[0].cpu is not None and rows[0].cpu.ratio is not None
    assert 0 < rows[0].cpu.ratio <= 1.0
    assert rows[1].cpu is not None and rows[1].cpu.ratio is None


def test_the_first_look_reads_only_processor_time() -> None:
    look = host(process(1))
    collect(look, ProcessRequest(fields=frozenset({"exe"}), enhanced=True, sample_ns=1)).rows()
    assert isinstance(look.processes, FakeProcesses)
    assert look.processes.requests[0].wanted == {"cpu"}
    assert look.processes.requests[1].wanted >= {"cpu", "exe"}


def test_digests_are_read_once_for_each_file() -> None:
    answers = Answers(
        digests={"/bin/a": Digest("aa", 1)}, owners={"/bin/a": FileOwner("pkg", "1.0", "rpm", "sha256", "aa")}
    )
    same = Executable("/bin/a", 1, 5)
    rows = collect(host(process(1, exe=same), process(2, exe=same), answers=answers), ProcessRequest(DIGEST)).rows()
    assert [row.digest and row.digest.package for row in rows] == ["pkg 1.0", "pkg 1.0"]
    assert rows[0].digest is not None and rows[0].digest.package_match is True
    assert answers.digested == ["/bin/a"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Denied("no"), Reason.DENIED), (Unsupported("no"), Reason.UNSUPPORTED), (Unavailable("no"), Reason.UNAVAILABLE)],
)
def test_a_digest_that_fails_is_a_gap_with_its_reason(error: Exception, reason: Reason) -> None:
    answers = Answers(digests={"/usr/bin/sleep": error})  # type: ignore[dict-item]
    answer = collect(host(process(1), answers=answers), ProcessRequest(DIGEST))
    assert answer.rows()[0].gaps == (Gap("digest", reason, "no"),)
    assert answer.coverage.gaps == (GapCount("digest", reason, 1, "no"),)


def test_a_failure_is_not_remembered_for_other_processes() -> None:
    same = Executable("/bin/a", 1, 5)
    answers = Answers(digests={"/bin/a": Denied("process 1 may not be read")})
    box = host(process(1, exe=same), process(2, exe=same), answers=answers)
    rows = iter(collect(box, ProcessRequest(DIGEST)))
    assert next(rows).digest is None
    answers.digests.clear()
    assert next(rows).digest is not None


def test_a_package_that_fails_leaves_the_digest() -> None:
    answers = Answers(owners={"/usr/bin/sleep": Unavailable("locked")})
    row = collect(host(process(1), answers=answers), ProcessRequest(DIGEST)).rows()[0]
    assert row.digest is not None and row.digest.package is None
    assert row.gaps == (Gap("digest.package", Reason.UNAVAILABLE, "locked"),)


def test_a_path_of_another_root_is_not_looked_up_in_this_hosts_packages() -> None:
    answers = Answers(owners={"/usr/bin/sleep": FileOwner("host-sleep", None, "dpkg", None, None)})
    inside = LinuxContext(namespaces=Namespaces(1, 1, 9, 1, 1, 1, 1, 1, ("mnt",)))
    rows = [process(1), process(2, linux=inside), process(3, root="/jail")]
    rows = collect(host(*rows, answers=answers), ProcessRequest(DIGEST)).rows()
    assert [row.digest and row.digest.package for row in rows] == ["host-sleep", None, None]
    assert rows[1].gaps[0].field == "digest.package"


def test_without_an_executable_the_digest_lacks_for_the_same_reason() -> None:
    rows = [process(1, kernel=True, exe=None), with_gaps(process(2, exe=None), Gap("exe", Reason.DENIED))]
    found = collect(host(*rows), ProcessRequest(DIGEST)).rows()
    assert found[0].gaps == ()
    assert found[1].gaps[-1] == Gap("digest", Reason.DENIED)


def test_ancestry_follows_keys_not_reused_pids() -> None:
    rows = [process(1, "init", 0), process(5, "shell", 1), process(9, "child", 5), process(20, "orphan", 7)]
    young = process(7, "young", 1, started_at_ns=rows[3].started_at_ns + 1)  # type: ignore[operator]
    found = collect(host(*rows[:2], young, *rows[2:]), ProcessRequest(frozenset({"ancestry"}))).rows()
    named = {row.name: [ancestor.name for ancestor in row.ancestry or ()] for row in found}
    assert named == {"init": [], "shell": ["init"], "young": ["init"], "child": ["shell", "init"], "orphan": []}


def test_the_tree_is_an_answer_too() -> None:
    answer = process_tree(host(process(1, ppid=0), process(2), process(3, ppid=2)), ProcessRequest())
    assert [(row.process.key.pid, row.last) for row in answer] == [(1, ()), (2, (True,)), (3, (True, True))]
    assert answer.coverage.rows == 3


@pytest.mark.parametrize(
    ("request_", "samples"), [(ProcessRequest(sample_ns=60 * 10**9), None), (ProcessRequest(), Samples())]
)
def test_a_host_that_stands_still_gives_a_gap_and_no_share(request_: ProcessRequest, samples: Samples | None) -> None:
    gap = Gap("cpu.ratio", Reason.UNSUPPORTED, "one moment")
    still = dataclasses.replace(host(process(1), process(2, cpu=None)), gaps=(gap,))
    for _ in range(2):
        first, second = collect(still, request_, samples).rows()
        assert first.cpu and first.cpu.ratio is None
        assert first.gaps == (gap,)
        assert second.gaps == ()
