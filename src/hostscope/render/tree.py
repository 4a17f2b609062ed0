"""The branches drawn before a process in a tree."""


def render_branches(last: tuple[bool, ...]) -> str:
    """``│  └─ `` for the row's place; empty for a root. Deep trees are cut to their last levels."""
    if not last:
        return ""
    shown = last[-_DEEPEST:]
    stem = "… " if len(last) > _DEEPEST else ""
    return stem + "".join("   " if done else "│  " for done in shown[:-1]) + ("└─ " if shown[-1] else "├─ ")


_DEEPEST = 40
