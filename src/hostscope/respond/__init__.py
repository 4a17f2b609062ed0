"""Plan, guard, act: the only room that can change a process, and the only one that may import `Control`."""
