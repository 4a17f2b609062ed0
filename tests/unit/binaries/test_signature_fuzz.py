"""No bytes make a parser of signatures raise, hang, or call a damaged file good."""

import plistlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hostscope.binaries.appended_signature import MARK
from hostscope.binaries.bundle import check, parse_seal
from hostscope.binaries.certificates import CODE_SIGNING, Broken, build_chain, check_bag, describe
from hostscope.binaries.cms import parse_message, verify_signer, verify_timestamp
from hostscope.binaries.code_directory import begin_pages, parse_code_directory
from hostscope.binaries.content import Held
from hostscope.binaries.elf_hardening import parse_hardening
from hostscope.binaries.entitlements import as_records, parse_der, parse_xml
from hostscope.binaries.ima import judge_seal
from hostscope.binaries.macho import slices
from hostscope.binaries.pe import certificates, covered, parse_pe
from hostscope.binaries.requirement import parse_requirements
from hostscope.binaries.trust import Trust
from hostscope.binaries.verdict import judge
from hostscope.model.signature import Seal, Signature

from .macho_builder import DESIGNATED, SHA256, Recipe, build, der_entitlements, fat
from .pe_builder import image
from .pki import NOW, pki, plain, sign

FEW = settings(max_examples=150, deadline=20_000, suppress_health_check=[HealthCheck.too_slow])


@cache
def macho() -> bytes:
    return build(Recipe(pages=2, hashes=(SHA256,), stamp=(pki().authority, NOW)))


@cache
def message() -> bytes:
    known = plain()
    return sign(b"content", known.leaf, (known.leaf, known.issuer), stamp=(known.authority, NOW))


def pe() -> bytes:
    """An image whose certificate table holds a message of another kind."""
    raw = bytearray(image(pages=1))
    entry = parse_pe(Held(bytes(raw))).entry_at
    assert entry
    body = message() + bytes(-len(message()) % 8)
    raw[entry : entry + 8] = len(raw).to_bytes(4, "little") + (len(body) + 8).to_bytes(4, "little")
    return bytes(raw) + (len(body) + 8).to_bytes(4, "little") + b"\x00\x02\x02\x00" + body


def module() -> bytes:
    return b"module" + message() + b"\0\0\2\0\0\0\0\0" + len(message()).to_bytes(4, "big") + MARK


SEEDS: dict[str, Any] = {
    "mach-o": macho,
    "universal": lambda: fat(macho(), macho()),
    "pe": pe,
    "elf": lambda: Path("/bin/ls").read_bytes()[:4096],
    "module": module,
    "catalog": message,
}


def verdict(raw: bytes) -> Signature:
    found = judge("x.cat", Held(raw), Trust(extra_roots=(pki().root.certificate,)))
    assert found.status in ("valid", "invalid", "untrusted", "adhoc", "unsigned", "unknown")
    assert len(found.reason) < 2000
    return found


@FEW
@given(st.binary(max_size=600))
@example(b"")
@example(b"\xca\xfe\xba\xbe\0\0\0\x2a")
@example(b"MZ")
@example(b"\x7fELF")
def test_arbitrary_bytes(raw: bytes) -> None:
    verdict(raw)


MAGICS = [
    b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xce", b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf",
    b"MZ", b"\x7fELF\2\1", b"\x7fELF\1\2",
    b"\x30\x82\x01\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02",
]  # fmt: skip


@FEW
@given(st.sampled_from(MAGICS), st.binary(max_size=400))
def test_arbitrary_bytes_behind_each_magic(magic: bytes, raw: bytes) -> None:
    verdict(magic + raw)


@settings(max_examples=120, deadline=20_000, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("name", SEEDS)
@given(drawn=st.data())
def test_mutated_files(name: str, drawn: st.DataObject) -> None:
    raw = bytearray(SEEDS[name]())
    for _ in range(drawn.draw(st.integers(1, 6))):
        at = drawn.draw(st.integers(0, len(raw) - 1))
        new = drawn.draw(
            st.one_of(st.binary(min_size=1, max_size=1), st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0"]))
        )
        raw[at : at + len(new)] = new
    cut = drawn.draw(st.one_of(st.none(), st.integers(0, len(raw))))
    verdict(bytes(raw[:cut]))


@settings(max_examples=200, deadline=20_000, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_change_of_what_is_signed_stays_valid(drawn: st.DataObject) -> None:
    """Anywhere in code, directories and blobs; in the message itself there are parts that nobody signs."""
    raw = bytearray(macho())
    at = drawn.draw(st.integers(0, raw.find(b"\xfa\xde\x0b\x01") - 1))
    raw[at] ^= drawn.draw(st.integers(1, 255))
    assert verdict(bytes(raw)).status != "valid"


@FEW
@given(st.binary(max_size=300))
@example(bytes([0x70, 0x84, 0xFF, 0xFF, 0xFF, 0xFF]))
@example(b"\x31\x02\x31\x00" * 50)
def test_entitlements(raw: bytes) -> None:
    for parse in (parse_der, parse_xml):
        try:
            as_records(parse(raw))
        except ValueError:
            continue


def test_entitlements_nested_without_end_are_refused() -> None:
    value: Any = {}
    for _ in range(60):
        value = {"a": value}
    with pytest.raises(ValueError, match="deep"):
        parse_der(der_entitlements(value))


@pytest.mark.parametrize("tail", [b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>', b"<plist><dict><key>"])
def test_xml_that_grows_or_stops_is_refused(tail: bytes) -> None:
    with pytest.raises(ValueError, match="entitlements"):
        parse_xml(b"<?xml version='1.0'?>" + tail)


@FEW
@given(st.integers(0, len(DESIGNATED) - 1), st.binary(min_size=1, max_size=4))
def test_requirements(at: int, new: bytes) -> None:
    raw = DESIGNATED[:at] + new + DESIGNATED[at + len(new) :]
    try:
        assert all(isinstance(text, str) for text in parse_requirements(raw).values())
    except ValueError:
        return


@FEW
@given(st.binary(max_size=200), st.binary(max_size=64))
def test_code_directories(raw: bytes, content: bytes) -> None:
    head = (0xFADE0C02).to_bytes(4, "big") + (len(raw) + 8).to_bytes(4, "big")
    try:
        directory = parse_code_directory(head + raw)
        begin_pages(Held(content), directory, 3)()
    except ValueError:
        return


@FEW
@given(st.binary(max_size=300))
def test_messages(raw: bytes) -> None:
    for given_bytes in (raw, message()[: len(raw)] + raw, b"\x30\x82" + raw):
        try:
            verify_timestamp(parse_message(given_bytes), ())
        except Broken:
            continue


@settings(max_examples=400, deadline=20_000)
@given(st.integers(0), st.integers(0, 7), st.integers(0), st.binary(min_size=1, max_size=2))
def test_messages_with_a_changed_bit_raise_only_our_error(at: int, bit: int, other: int, new: bytes) -> None:
    """Libraries that parse lazily show nonsense late: everything is parsed before anything is judged."""
    raw, roots = bytearray(message()), (plain().root.certificate,)
    raw[at % len(raw)] ^= 1 << bit
    raw[other % len(raw) : other % len(raw) + len(new)] = new
    try:
        found = parse_message(bytes(raw))
        leaf = verify_signer(found, b"content")
        path = build_chain(leaf, found.certificates, roots, NOW, CODE_SIGNING)
        check_bag(found.certificates, roots, path)
        verify_timestamp(found, roots)
        describe(leaf)
    except Broken:
        return


@FEW
@given(st.binary(max_size=200))
def test_pe_headers(raw: bytes) -> None:
    for given_bytes in (raw, image(pages=1)[:0x98] + raw, b"MZ" + bytes(0x3A) + b"\x40\0\0\0" + raw):
        try:
            found = parse_pe(Held(given_bytes))
            list(certificates(Held(given_bytes), found))
            ranges = list(covered(Held(given_bytes), found))
        except ValueError:
            continue
        assert all(0 <= start < end <= len(given_bytes) for start, end in ranges)


@FEW
@given(st.binary(max_size=300))
def test_elf_and_macho_headers(raw: bytes) -> None:
    for magic in (b"\x7fELF\1\1", b"\x7fELF\2\2", b"\xca\xfe\xba\xbe\0\0\0\2", b"\xcf\xfa\xed\xfe"):
        for parse in (parse_hardening, slices):
            try:
                parse(Held(magic + raw))
            except ValueError:
                continue


@FEW
@given(st.binary(max_size=100))
def test_ima_attributes(raw: bytes) -> None:
    judge_seal(Seal("ima", raw), lambda name: bytes(20), [plain().leaf.certificate])


class Empty:
    """A bundle without files."""

    def paths(self) -> Any:
        return iter(("Resources/x",))

    def link(self, path: str) -> str | None:
        return None

    def digest(self, path: str, algorithm: str) -> bytes | None:
        return None

    def nested(self, path: str) -> None:
        return None


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=8), st.binary(max_size=8))
NAMED = st.dictionaries(st.sampled_from(["hash", "hash2", "symlink", "cdhash", "optional", "weight", "omit"]), LEAVES)


def _plist(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plist(inner) for name, inner in value.items() if inner is not None}
    return value


@FEW
@given(
    st.dictionaries(st.text(max_size=12), st.one_of(LEAVES.filter(lambda one: one is not None), NAMED), max_size=5),
    st.dictionaries(st.text(alphabet="^.*()+?$a[{\\", max_size=12), st.one_of(st.booleans(), NAMED), max_size=4),
)
def test_seals(files: dict[str, Any], rules: dict[str, Any]) -> None:
    try:
        raw = plistlib.dumps(_plist({"files2": files, "rules2": rules}))
    except (ValueError, TypeError):
        return
    try:
        list(check(parse_seal(raw), Empty(), ()))
    except ValueError:
        return


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*$", "^(.*)*x", ".*" * 20, "a" * 600, "(", "(?P<x>a){2,}"])
def test_rules_that_take_forever_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="rule"):
        parse_seal(plistlib.dumps({"files2": {}, "rules2": {pattern: True}}))


def test_the_systems_own_rules_are_understood() -> None:
    rules = [
        "^.*", "^.*\\.lproj/", "^.*\\.lproj/locversion.plist$", "^Base\\.lproj/", "^version.plist$", ".*\\.dSYM($|/)",
        "^(.*/)?\\.DS_Store$", "^.*", "^.*\\.lproj/", "^Info\\.plist$", "^PkgInfo$", "^embedded\\.provisionprofile$",
        "^(Frameworks|SharedFrameworks|PlugIns|Plug-ins|XPCServices|Helpers|MacOS|Library/(Automator|Spotlight|LoginItems))/",
        "^[^/]+$", "^Resources/.*\\.lproj/locversion.plist$",
    ]  # fmt: skip
    seal = parse_seal(plistlib.dumps({"files2": {}, "rules2": dict.fromkeys(rules, True)}))
    assert all(isinstance(rule.pattern, re.Pattern) for rule in seal.rules)
