"""Files of /proc/PID as kernels from 4.18 to 6.18 write them."""

STAT_6_18 = (
    b"26602 (head) R 26559 26558 14501 34817 26558 4194304 101 7 3 1 12 34 5 6 25 5 4 0 279624 2998272 423"
    b" 18446744073709551615 94396770787328 94396770811433 140725882918608 0 0 0 0 0 0 0 0 0 17 1 40 2 0 0 0"
    b" 94396770827280 94396770828896 94397333348352 140725882923528 140725882923553 140725882923553 140725882925034 0\n"
)
STAT_4_18 = (
    b"1 (systemd) S 0 1 1 0 -1 4194560 84542 3541338 96 3177 249 1054 12107 5434 20 0 1 0 14 245338112 3472"
    b" 18446744073709551615 94020545458176 94020546905092 140730326406480 0 0 0 671173123 4096 1260 1 0 0 17 0 0 0 19"
    b" 0 0 94020549004512 94020549151432 94020573241344 140730326409053 140730326409108 140730326409108 140730326409197"
    b" 0\n"
)
STAT_KERNEL_THREAD = (
    b"15 (ksoftirqd/0) S 2 0 0 0 -1 69238848 0 0 0 0 0 44 0 0 20 0 1 0 3 0 0 18446744073709551615 0 0 0 0 0 0 0"
    b" 2147483647 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)
STAT_ZOMBIE = (
    b"14594 (python) Z 14593 14589 14501 0 -1 4227084 21 0 0 0 0 0 0 0 20 0 1 0 332211 0 0 18446744073709551615 0 0 0"
    b" 0 0 0 0 16781312 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)

_HEAD = b"Name:\t%b\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t77\nNgid:\t0\nPid:\t77\nPPid:\t1\nTracerPid:\t%d\n"
_IDS = b"Uid:\t1000\t1001\t1002\t1003\nGid:\t100\t101\t102\t103\nFDSize:\t64\nGroups:\t4 24 1000 \n"
_SPACES = b"NStgid:\t77\nNSpid:\t77\nNSpgid:\t77\nNSsid:\t77\n"
_MEMORY = (
    b"VmPeak:\t    3060 kB\nVmSize:\t    3000 kB\nVmLck:\t       0 kB\nVmPin:\t       0 kB\nVmHWM:\t    1788 kB\n"
    b"VmRSS:\t    1700 kB\nRssAnon:\t     100 kB\nRssFile:\t    1500 kB\nRssShmem:\t     100 kB\nVmData:\t     360 kB\n"
    b"VmStk:\t     132 kB\nVmExe:\t      20 kB\nVmLib:\t    1528 kB\nVmPTE:\t      52 kB\nVmSwap:\t      12 kB\n"
    b"HugetlbPages:\t       0 kB\n"
)
_SIGNALS = (
    b"Threads:\t1\nSigQ:\t0/96365\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\nSigBlk:\t0000000000000000\n"
    b"SigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n"
)
_CAPS = (
    b"CapInh:\t0000000000000001\nCapPrm:\t000001fffeffffff\nCapEff:\t0000000000002000\nCapBnd:\t000001ffffffffff\n"
    b"CapAmb:\t0000000000000020\nNoNewPrivs:\t1\n"
)
_CPUS = b"Cpus_allowed:\t3\nCpus_allowed_list:\t0-1\nMems_allowed:\t00000000,00000001\nMems_allowed_list:\t0\n"
_SWITCHES = b"voluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t545\n"

STATUS_4_18 = b"".join(
    [_HEAD % (b"cat", 0), _IDS, _SPACES, _MEMORY, b"CoreDumping:\t0\n", _SIGNALS, _CAPS, b"Seccomp:\t2\n",
     b"Speculation_Store_Bypass:\tthread vulnerable\n", _CPUS, _SWITCHES]
)  # fmt: skip
STATUS_5_10 = b"".join(
    [_HEAD % (b"cat", 9), _IDS, _SPACES, _MEMORY, b"CoreDumping:\t0\nTHP_enabled:\t1\n", _SIGNALS, _CAPS,
     b"Seccomp:\t2\nSeccomp_filters:\t1\nSpeculation_Store_Bypass:\tvulnerable\n", _CPUS, _SWITCHES]
)  # fmt: skip
STATUS_6_18 = b"".join(
    [_HEAD % (b"cat", 0), _IDS, _SPACES, b"Kthread:\t0\n", _MEMORY,
     b"CoreDumping:\t0\nTHP_enabled:\t1\nuntag_mask:\t0xffffffffffffffff\n", _SIGNALS, _CAPS,
     b"Seccomp:\t2\nSeccomp_filters:\t1\nSpeculation_Store_Bypass:\tvulnerable\n"
     b"SpeculationIndirectBranch:\talways enabled\n", _CPUS, _SWITCHES,
     b"x86_Thread_features:\t\nx86_Thread_features_locked:\t\n"]
)  # fmt: skip
STATUS_WITHOUT_SECCOMP = b"".join(
    [_HEAD % (b"cat", 0), _IDS, _SPACES, _MEMORY, _SIGNALS, _CAPS, b"Speculation_Store_Bypass:\tunknown\n", _CPUS,
     _SWITCHES]
)  # fmt: skip
STATUS_KERNEL_THREAD = b"".join(
    [_HEAD % (b"ksoftirqd/0", 0), _IDS.replace(b"4 24 1000 ", b" "), _SPACES, b"Kthread:\t1\n", _SIGNALS, _CAPS,
     b"Seccomp:\t0\nSeccomp_filters:\t0\n", _CPUS, _SWITCHES]
)  # fmt: skip
STATUS_CONTAINER = STATUS_6_18.replace(
    _SPACES, b"NStgid:\t77\t7\t1\nNSpid:\t77\t7\t1\nNSpgid:\t77\t7\t1\nNSsid:\t77\t7\t1\n"
)

IO = b"rchar: 8327\nwchar: 42\nsyscr: 16\nsyscw: 1\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n"
ROLLUP = (
    b"55d5f0a00000-7ffd3a5f7000 ---p 00000000 00:00 0                          [rollup]\nRss:                1884 kB\n"
    b"Pss:                 150 kB\nPss_Dirty:            96 kB\nPss_Anon:             96 kB\nShared_Clean: 1700 kB\n"
    b"Shared_Dirty:          0 kB\nPrivate_Clean:       88 kB\nPrivate_Dirty:       96 kB\nReferenced:        1884 kB\n"
    b"Private_Hugetlb:    2048 kB\nSwap:                  0 kB\nLocked:                0 kB\n"
)
ROLLUP_4_18 = ROLLUP.replace(b"Pss_Dirty:            96 kB\n", b"").replace(b"Private_Hugetlb:    2048 kB\n", b"")

TTY_DRIVERS = (
    b"/dev/tty             /dev/tty        5       0 system:/dev/tty\n"
    b"/dev/console         /dev/console    5       1 system:console\n"
    b"/dev/ptmx            /dev/ptmx       5       2 system\n"
    b"/dev/vc/0            /dev/vc/0       4       0 system:vtmaster\n"
    b"usbserial            /dev/ttyUSB   188 0-511 serial\n"
    b"serial               /dev/ttyS       4 64-95 serial\n"
    b"pty_slave            /dev/pts      136 0-1048575 pty:slave\n"
    b"pty_master           /dev/ptm      128 0-1048575 pty:master\n"
    b"unknown              /dev/tty        4 1-63 console\n"
)
