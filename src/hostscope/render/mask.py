"""Secrets in arguments and environments, masked. The one place that decides what a secret looks like.

A heuristic, and labelled so wherever it shows: it knows flags and names that carry secrets, credentials inside URLs and
headers, and tokens by their published shapes. A secret without a name and without a shape passes.

Cost: 10 ns for each character of arguments in which nothing looks like a secret; 50 times that where something does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from hostscope.model.detail import ProcessDetail, Variable
    from hostscope.model.process import Process
    from hostscope.model.service import ServiceState

MASK = "***"


def may_hold_secret(text: str) -> bool:
    """Whether the slow look is worth it: every secret that is recognised contains one of these, or stands behind a
    bare ``Basic``, ``Digest`` or ``Negotiate``, which alone are words like others.

    One-letter tests stand before the words they guard, because they cost a third.
    """
    lower = text.lower()
    if "pass" in lower or "secr" in lower or "auth" in lower or "cred" in lower or "sig" in lower or "---" in lower:
        return True
    if "k" in lower and ("key" in lower or "toke" in lower or "cook" in lower or "psk" in lower or "sk-" in lower):
        return True
    if "w" in lower and "pw" in lower:
        return True
    if "_" in lower and ("gh" in lower or "npm_" in lower or "k_" in lower or "hf_" in lower):
        return True
    if "x" in lower and ("xox" in lower or "xapp" in lower):
        return True
    if "A" in text and ("AKIA" in text or "ASIA" in text or "AIza" in text):
        return True
    if "://" in lower or "eare" in lower or "pat-" in lower or "glrt-" in lower or "pypi-" in lower or "hvs." in lower:
        return True
    return "J" in text and "eyJ" in text


_KEYWORD = (
    r"(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|credentials?|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|secret[_-]?key|signing[_-]?key|encryption[_-]?key|master[_-]?key|account[_-]?key|auth[_-]?key|session[_-]?key"
    r"|authorization|auth|psk|cookie|sig|signature|bearer)(?:[_-]?\d{1,4})?"
)
# Compiled at their first use, and kept by `re`: most hosts' arguments hold nothing that looks like a secret.
_HARMLESS_END = r"(?:file|path|dir|fd|env|stdin|type|method|url|uri|mode|policy|length|ttl|id-file|sock)$"
_LOOSE_NAME = (
    r"(?i)(?:^|[_.-])(?:pass|passwd|password|passphrase|pwd|pw|secret|secrets|token|tokens|cred|creds|credential"
    r"|credentials|apikey|key|auth|authorization|cookie|psk|dsn|jwt)(?:[_.-]|\d|$)|password|passwd|passphrase|secret|token"
    r"|apikey|(?:access|private|encryption|signing|master|account|session)key|(?:pass|pwd|pw)$"
)
# Arguments are hostile and may be megabytes long: no pattern may start over within a run of characters that it has
# already crossed, so each is bounded or anchored where such a run begins.
_SECRET_FLAG = rf"(?i){_KEYWORD}$"
_PLAIN_NAME = r"[\w.:\[\]-]+"
_PAIR = rf"(?i)(?P<name>{_KEYWORD})(?P<mark>\s*[=:]\s*)(?:\"[^\"]*\"|'[^']*'|[^\s&;,]+)"
_JSON_PAIR = rf"(?i)(?P<name>{_KEYWORD}[\"'])(?P<mark>\s*:\s*)(?P<quote>[\"'])(?:(?!(?P=quote)).)*(?P=quote)"
_USERINFO = r"://(?P<user>[^\s/?#:@]*)(?P<secret>:[^\s/?#]*)?@"
_HEADER = (
    r"(?is)(?P<name>(?:authorization\s*[:=]"
    r"|\b(?:x-[\w-]{0,40}(?:token|key|secret|auth)[\w-]{0,40}|(?:set-)?cookie)\s*:)\s*).+"
)
_SCHEME = r"(?i)(?P<scheme>\b(?:bearer|basic|digest|negotiate)\s+)[\w.~+/=-]{6,}"
_SHAPES = (
    r"(?<![\w-])(?:"
    r"(?:AKIA|ASIA)[0-9A-Z]{16}"
    r"|gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_\w{20,255}|gl(?:pat|rt)-[\w-]{16,255}|hf_[A-Za-z0-9]{30,255}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{8,255}|xapp-[A-Za-z0-9-]{8,255}"
    r"|eyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*)?"
    r"|sk-[A-Za-z0-9_-]{20,255}|[sr]k_(?:live|test)_[A-Za-z0-9]{10,255}"
    r"|AIza[\w-]{35}|npm_[A-Za-z0-9]{36}|pypi-AgE[\w-]{16,255}|hvs\.[\w-]{20,255}"
    r")"
)
_PRIVATE_KEY = r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)"

_SHORT_FLAGS: dict[str, tuple[str, ...]] = {
    "mysql": ("-p",), "mysqldump": ("-p",), "mysqladmin": ("-p",), "mysqlimport": ("-p",), "mysqlshow": ("-p",),
    "mysqlcheck": ("-p",), "mysqlsh": ("-p",), "mariadb": ("-p",), "mariadb-dump": ("-p",), "mariadb-admin": ("-p",),
    "sshpass": ("-p",), "redis-cli": ("-a",), "ldapsearch": ("-w",), "ldapmodify": ("-w",), "ldapadd": ("-w",),
    "ldapdelete": ("-w",), "ldappasswd": ("-w", "-s", "-a"), "ldapwhoami": ("-w",),
    "curl": ("-u", "-U", "--user", "--proxy-user"),
    "smbclient": ("-U", "--user"), "rpcclient": ("-U", "--user"), "smbget": ("-U", "--user"), "lftp": ("-u",),
    "mongo": ("-p",), "mongosh": ("-p",), "mongodump": ("-p",), "mongorestore": ("-p",), "cqlsh": ("-p",),
    "sqlcmd": ("-P",), "bcp": ("-P",), "ipmitool": ("-P",), "mosquitto_pub": ("-P",), "mosquitto_sub": ("-P",),
    "snmpget": ("-c", "-A", "-X"), "snmpwalk": ("-c", "-A", "-X"), "snmpset": ("-c", "-A", "-X"),
    "etcdctl": ("--user",), "zip": ("-P",), "unzip": ("-P",), "7z": ("-p",), "7za": ("-p",), "7zr": ("-p",),
    "rar": ("-hp", "-p"),
    "unrar": ("-p",), "rdesktop": ("-p",), "xfreerdp": ("/p:",), "evil-winrm": ("-p",), "hydra": ("-p",),
    "nxc": ("-p",), "netexec": ("-p",), "crackmapexec": ("-p",), "twine": ("-p",), "openssl": ("-k", "-K"),
    "plink": ("-pw",), "pscp": ("-pw",), "psftp": ("-pw",), "putty": ("-pw",),
}  # fmt: skip
"""Programs whose short flag carries a secret, either attached or as the next argument."""
_PROGRAMS = frozenset(_SHORT_FLAGS) | {f"{name}.exe" for name in _SHORT_FLAGS}
_ATTACHED_ONLY = ("mysql", "mariadb", "7z", "rar", "unrar", "xfreerdp")
"""A bare ``-p`` asks for the password here, and the next argument is something else."""
_NEXT_ONLY = frozenset({"openssl", "plink", "pscp", "psftp", "putty"})
"""What begins like the flag is another flag here (``-keyout``)."""
_DIRECTORIES = frozenset({"PWD", "OLDPWD"})


def looks_secret(name: str) -> bool:
    """Whether a variable or key of this name holds a secret."""
    return (
        name not in _DIRECTORIES and bool(re.search(_LOOSE_NAME, name)) and not re.search(_HARMLESS_END, name.lower())
    )


def _flag_is_secret(flag: str) -> bool:
    return bool(re.search(_SECRET_FLAG, flag)) and not re.search(_HARMLESS_END, flag.lower())


def _mask_pair(found: re.Match[str]) -> str:
    quote = found.groupdict().get("quote") or ""
    return f"{found['name']}{found['mark']}{quote}{MASK}{quote}"


def _mask_userinfo(found: re.Match[str]) -> str:
    if found["secret"] is None:
        # A lone user is a name on ssh://git@host, but a token on https://TOKEN@host.
        return found.group() if len(found["user"]) < 20 else f"://{MASK}@"
    return f"://{found['user']}:{MASK}@"


def mask_text(text: str) -> str:
    """Free text with the secrets in it masked."""
    return _mask_all(text) if may_hold_secret(text) else text


def _mask_all(text: str) -> str:
    """Looks for every pattern whose marks are in the text: without them it cannot match."""
    assigns, quotes = "=" in text or ":" in text, '"' in text or "'" in text
    if "-----BEGIN " in text:
        text = re.sub(_PRIVATE_KEY, MASK, text)
    if assigns:
        text = re.sub(_HEADER, lambda found: found["name"] + MASK, text)
    if "://" in text and "@" in text:
        text = re.sub(_USERINFO, _mask_userinfo, text)
    text = re.sub(_SCHEME, lambda found: found["scheme"] + MASK, text)
    if assigns and quotes:
        text = re.sub(_JSON_PAIR, _mask_pair, text)
    if assigns:
        text = re.sub(_PAIR, _mask_pair, text)
    return re.sub(_SHAPES, MASK, text)


def mask_argv(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Arguments with secrets masked; the same tuple when there are none."""
    if not argv:
        return argv
    text = "\n".join(argv)
    return _mask_arguments(argv) if may_hold_secret(text) or _names_program(text) else argv


def _program(argument: str) -> str:
    """The name of the program that an argument may be, as `_SHORT_FLAGS` has it."""
    return argument[max(argument.rfind("/"), argument.rfind("\\")) + 1 :].lower().removesuffix(".exe")


def _names_program(text: str) -> bool:
    """Whether one of `_SHORT_FLAGS` is among the words: an argument, or in a command line (``sh -c "mysql -p…"``)."""
    return not _PROGRAMS.isdisjoint(text.lower().replace("/", " ").replace("\\", " ").split())


def _mask_arguments(argv: tuple[str, ...]) -> tuple[str, ...]:
    if len(argv) == 1:
        # A process that rewrote its title shows one long argument.
        return (_mask_words(argv[0]),)
    program, masked, secret_next = "", list[str](), False
    for argument in argv:
        if secret_next and not argument.startswith("-"):
            masked.append(MASK)
            secret_next = False
            continue
        if _program(argument) in _SHORT_FLAGS:  # perhaps behind `sudo`, `timeout`, `ssh host`
            program = _program(argument)
        text, secret_next = _mask_argument(argument, program)
        masked.append(text)
    return tuple(masked)


def _mask_argument(argument: str, program: str) -> tuple[str, bool]:
    """The argument masked, and whether the next one is a secret."""
    for flag in _SHORT_FLAGS.get(program, ()):
        if argument == flag:
            return argument, not program.startswith(_ATTACHED_ONLY)
        if program in _NEXT_ONLY or not argument.startswith(flag):
            continue
        if not flag.startswith("--") or argument[len(flag)] == "=":
            return (flag + "=" if flag.startswith("--") else flag) + MASK, False
    if argument.startswith("-") and "=" not in argument and _flag_is_secret(argument):
        return argument, True
    return _mask_words(argument) if " -" in argument else _mask_assignment(argument), False


def _mask_assignment(argument: str) -> str:
    name, mark, value = argument.partition("=")
    if (
        mark
        and value
        and not value.startswith(MASK)
        and re.fullmatch(_PLAIN_NAME, name)
        and looks_secret(name.lstrip("-"))
    ):
        return f"{name}={MASK}"
    return _mask_all(argument)


def _mask_words(title: str) -> str:
    """Of a command line in one string, each word as an argument, after what takes several words (a header, a key)."""
    words = re.split(r"(\s+)", _mask_all(title))
    if len(words) == 1:
        return _mask_assignment(title)
    words[::2] = _mask_arguments(tuple(words[::2]))
    return "".join(words)


def mask_environment(variables: tuple[Variable, ...]) -> tuple[Variable, ...]:
    """Environment with secrets masked by the variables' names and by what their values look like."""
    return tuple(_mask_variable(variable) for variable in variables)


def _mask_variable(variable: Variable) -> Variable:
    if variable.value and looks_secret(variable.name):
        return replace(variable, value=MASK)
    masked = mask_text(variable.value)
    return variable if masked is variable.value else replace(variable, value=masked)


def mask_process(process: Process) -> Process:
    """The record with its arguments masked; the same record when there is nothing to mask."""
    argv = process.argv
    if not argv:
        return process
    masked = mask_argv(argv)
    return process if masked is argv or masked == argv else replace(process, argv=masked)


def mask_service(service: ServiceState) -> ServiceState:
    """The unit with its command masked: `systemd-run` makes a description of the one it is given."""
    described, scm = _mask_command(service.description), service.scm
    if scm is not None and (command := _mask_command(scm.command)) != scm.command:
        scm = replace(scm, command=command)
    same = described == service.description and scm is service.scm
    return service if same else replace(service, description=described, scm=scm)


def _mask_command(text: str | None) -> str | None:
    return mask_argv((text,))[0] if text else text


def mask_detail(detail: ProcessDetail) -> ProcessDetail:
    """The detail with its environment masked."""
    if not detail.environment:
        return detail
    return replace(detail, environment=mask_environment(detail.environment))
