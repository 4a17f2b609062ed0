"""States of threads, and what those that wait wait for, by the kernel's numbers (KTHREAD_STATE, KWAIT_REASON)."""

STATES = {
    0: "initialized", 1: "ready", 2: "running", 3: "standby", 4: "terminated", 5: "waiting", 6: "transition",
    7: "deferred-ready", 9: "waiting-for-swap-in",
}  # fmt: skip
WAIT_REASONS = dict(
    enumerate(
        (
            "executive", "free-page", "page-in", "pool-allocation", "delay", "suspended", "user-request",
            "kernel-executive", "kernel-free-page", "kernel-page-in", "kernel-pool-allocation", "kernel-delay",
            "kernel-suspended", "kernel-user-request", "event-pair", "queue", "lpc-receive", "lpc-reply",
            "virtual-memory", "page-out", "rendezvous", "keyed-event", "terminated", "process-in-swap",
            "cpu-rate-control", "callout-stack", "kernel", "resource", "push-lock", "mutex", "quantum-end",
            "dispatch-interrupt", "preempted", "yield-execution", "fast-mutex", "guarded-mutex", "rundown",
            "alert-by-thread-id", "deferred-preempt", "physical-fault", "io-ring", "mdl-cache",
        )
    )
)  # fmt: skip
"""From 7 on the kernel's own waits repeat the first ones (Wr…)."""
