"""From a file's bytes to the verdict on it, whatever its format. Pure."""

from collections.abc import Mapping

from hostscope.binaries.appended_signature import verify_appended
from hostscope.binaries.catalog import is_catalog
from hostscope.binaries.certificates import describe, moment
from hostscope.binaries.content import Content
from hostscope.binaries.elf import MAGIC as ELF_MAGIC
from hostscope.binaries.elf_hardening import parse_hardening
from hostscope.binaries.macho import gaps_between, is_macho, slices
from hostscope.binaries.macho_signature import verify_slice
from hostscope.binaries.trust import Trust
from hostscope.model.gap import Gap, Reason
from hostscope.model.signature import WORST, Confidence, Flaw, Hardening, Signature, SignedPart, Status

CATALOG_BYTES = 64 << 20
BEST: tuple[Status, ...] = ("invalid", "valid", "adhoc", "untrusted", "unknown", "unsigned")
"""Where parts are witnesses to one file, not pieces of it: one that holds is enough, one that fails too."""
CRYPTOGRAPHIC = frozenset({"macho-cms", "authenticode", "catalog", "module-cms", "ima"})
ADDITIVE = frozenset({"elf", "other"})


def judge(
    path: str,
    content: Content,
    trust: Trust,
    catalogs: Mapping[str, bytes] | None = None,
    beside: Mapping[int, bytes] | None = None,
) -> Signature:
    """The verdict on one file. Never raises for nonsense: that is a flaw.

    Args:
        catalogs: Windows' catalogues by name, for files that have no signature of their own.
        beside: Mach-O: the files of its bundle that the signature seals, by slot.

    Cost: reads and hashes what is signed once for each digest algorithm; headers alone where nothing is.
    """
    head = content.read(0, 64)
    if is_macho(head):
        return _macho(path, content, trust, beside)
    if head[:2] == b"MZ":
        return _pe(path, content, trust, catalogs)
    if head[:4] == ELF_MAGIC:
        return _elf(path, content, trust)
    if _may_be_catalog(head, path):
        return _catalog(path, content, trust)
    return _other(path, content, trust, catalogs)


def _other(path: str, content: Content, trust: Trust, catalogs: Mapping[str, bytes] | None) -> Signature:
    appended = verify_appended(content, trust)
    parts: tuple[SignedPart, ...] = (appended,) if appended else ()
    if catalogs:
        from hostscope.binaries.authenticode import verify_listed

        parts += verify_listed(content, trust, catalogs)
    return conclude(path, "other", content.size, parts, trust)


def _macho(path: str, content: Content, trust: Trust, beside: Mapping[int, bytes] | None) -> Signature:
    try:
        found = slices(content)
    except ValueError as failed:
        return conclude(path, "mach-o", content.size, (), trust, (Flaw("malformed", str(failed)),))
    parts = tuple(verify_slice(one, trust, beside) for one in found)
    flaws: tuple[Flaw, ...] = _stranger_flaws(parts)
    if len(found) > 1 or found[0].end != content.size:
        flaws += tuple(
            Flaw("appended", f"{size} bytes at {offset} belong to no architecture")
            for offset, size in gaps_between(content, found)
        )
    return conclude(path, "mach-o", content.size, parts, trust, flaws)


def _stranger_flaws(parts: tuple[SignedPart, ...]) -> tuple[Flaw, ...]:
    """One file has one signer: else the name on one slice would stand for the code in another."""
    signers = {(part.signer, part.team, part.identifier) for part in parts if part.method == "macho-cms"}
    if len(signers) < 2:
        return ()
    return (Flaw("identity", "its architectures are signed by different people, or as different programs"),)


def _pe(path: str, content: Content, trust: Trust, catalogs: Mapping[str, bytes] | None) -> Signature:
    from hostscope.binaries.authenticode import outside_flaws, verify_pe  # brings signify along, when one is signed
    from hostscope.binaries.pe import parse_pe

    parts = verify_pe(content, trust, catalogs)
    try:
        flaws = tuple(outside_flaws(content, parse_pe(content)))
    except ValueError:
        flaws = ()  # the parts say so
    return conclude(path, "pe", content.size, parts, trust, flaws)


def _elf(path: str, content: Content, trust: Trust) -> Signature:
    appended = verify_appended(content, trust)
    hardening: Hardening | None = None
    gaps: tuple[Gap, ...] = ()
    try:
        hardening = parse_hardening(content)
    except ValueError as failed:
        gaps = (Gap("hardening", Reason.UNAVAILABLE, str(failed)),)
    return conclude(path, "elf", content.size, (appended,) if appended else (), trust, hardening=hardening, gaps=gaps)


def _may_be_catalog(head: bytes, path: str) -> bool:
    return is_catalog(head) and path.lower().endswith((".cat", ".stl"))


def _catalog(path: str, content: Content, trust: Trust) -> Signature:
    from hostscope.binaries.authenticode import verify_catalog

    if content.size > CATALOG_BYTES:
        flaw = Flaw("malformed", "a catalogue of an implausible size")
        return conclude(path, "catalog", content.size, (), trust, (flaw,))
    part = verify_catalog(content.read(0, content.size), trust)
    return conclude(path, "catalog", content.size, (part,), trust)


def conclude(
    path: str,
    format_: str,
    size: int | None,
    parts: tuple[SignedPart, ...],
    trust: Trust,
    flaws: tuple[Flaw, ...] = (),
    *,
    hardening: Hardening | None = None,
    gaps: tuple[Gap, ...] = (),
    resources: int | None = None,
) -> Signature:
    """One verdict from parts and flaws of the whole."""
    decides = _deciding(parts, BEST if format_ in ADDITIVE else WORST)
    broken = next((flaw for flaw in flaws if flaw.severity == "broken"), None)
    status: Status = "invalid" if broken else decides.status if decides else "unsigned"
    signed = decides if format_ in ADDITIVE else next((part for part in parts if part.signer), decides)
    return Signature(
        path=path,
        format=format_,
        status=status,
        method=decides.method if decides else "none",
        confidence=_confidence(status, decides, trust),
        reason=broken.detail if broken else _reason(decides),
        signer=signed.signer if signed else None,
        team=signed.team if signed else None,
        identifier=signed.identifier if signed else None,
        signed_at_ns=signed.timestamp.at_ns if signed and signed.timestamp else None,
        size_bytes=size,
        parts=parts,
        hardening=hardening,
        resources=resources,
        flaws=flaws,
        gaps=gaps,
    )


def _deciding(parts: tuple[SignedPart, ...], order: tuple[Status, ...]) -> SignedPart | None:
    return min(parts, key=lambda part: order.index(part.status), default=None)


def _confidence(status: Status, part: SignedPart | None, trust: Trust) -> Confidence:
    if part is None or status == "unsigned":
        return "high" if status == "invalid" else "none"
    if part.method not in CRYPTOGRAPHIC:
        return "low"
    if status != "valid":
        return "high" if status == "invalid" else "none"
    given = {describe(root).sha256 for root in trust.extra_roots}
    proven = part.timestamp is not None and part.timestamp.kind != "claimed" and not _is_weak(part)
    return "high" if proven and part.chain and part.chain[-1].sha256 not in given else "medium"


def _is_weak(part: SignedPart) -> bool:
    return any(flaw.code == "weak" for flaw in part.flaws)


def _reason(part: SignedPart | None) -> str:
    """Why the status is what it is, in a sentence."""
    if part is None or part.status == "unsigned":
        return "nobody signed it" + (f": {part.name}" if part and part.name not in ("signature", "package") else "")
    decisive = next((flaw for flaw in part.flaws if flaw.severity == "broken"), None)
    decisive = decisive or next((flaw for flaw in part.flaws if flaw.severity == "untrusted"), None)
    if decisive:
        return f"{part.name}: {decisive.detail}"
    if part.status == "adhoc":
        return "intact by its own account; nobody signed it"
    if part.status == "unknown":
        return f"{part.name}: {part.flaws[0].detail}" if part.flaws else f"{part.name} could not be judged"
    return _vouched(part)


def _vouched(part: SignedPart) -> str:
    if part.method == "package-digest":
        return f"as package {part.signer} brought it"
    root = part.chain[-1].subject if part.chain else "a key that was given"
    when = ""
    if part.timestamp:
        at = moment(part.timestamp.at_ns)
        when = f", {'signed' if part.timestamp.kind != 'claimed' else 'by its own account signed'} {at:%Y-%m-%d}"
    return f"vouched for by {root}{when}"
