"""Columns of verdicts on files."""

from hostscope.model.signature import FINDINGS, SCHEMA, Flaw, Signature
from hostscope.render.column import Column, Value, column_at
from hostscope.render.layout import Layout


def _flaws(signature: Signature) -> Value:
    return tuple(_flaw(flaw) for flaw in signature.all_flaws)


def _flaw(flaw: Flaw) -> str:
    return flaw.code if flaw.severity != "noted" else f"{flaw.code} (noted)"


def _details(signature: Signature) -> Value:
    return "; ".join(flaw.detail for flaw in signature.all_flaws) or None


def _parts(signature: Signature) -> Value:
    return tuple(f"{part.name}:{part.status}" for part in signature.parts)


def _chain(signature: Signature) -> Value:
    part = next((part for part in signature.parts if part.chain), None)
    return " < ".join(_name(one.subject) for one in part.chain) if part else None


def _name(subject: str) -> str:
    """The common name in an RFC 4514 name; all of it without one."""
    place = subject.find("CN=")
    if place < 0:
        return subject
    end = place + 3
    while end < len(subject) and (subject[end] != "," or subject[end - 1] == "\\"):
        end += 1
    return subject[place + 3 : end].replace("\\", "")


def _hardening(signature: Signature) -> Value:
    found = signature.hardening
    if found is None:
        return None
    said = {"pie": found.pie, "nx": found.nx, "canary": found.stack_protector, "fortify": found.fortified}
    known = (f"{name}={'yes' if value else 'no'}" for name, value in said.items() if value is not None)
    return (f"relro={found.relro}", *known)


def _flags(signature: Signature) -> Value:
    return tuple(dict.fromkeys(flag for part in signature.parts for flag in part.flags)) or None


def _first(signature: Signature, field: str) -> Value:
    value: Value = next((found for part in signature.parts if (found := getattr(part, field)) is not None), None)
    return value


def _entitlements(signature: Signature) -> Value:
    part = next((part for part in signature.parts if part.entitlements is not None), None)
    return None if part is None else tuple(one.name for one in part.entitlements or ())


def _time_source(signature: Signature) -> Value:
    part = next((part for part in signature.parts if part.timestamp), None)
    return part.timestamp.kind if part and part.timestamp else None


SIGNATURES = Layout(
    "signatures",
    SCHEMA,
    Signature,
    (
        Column("file", "FILE", "text", "path", None, "the file, or what the process runs", lambda s: s.path),
        column_at("pid", "PID", "int", "key.pid", None, "process id"),
        Column("format", "FORMAT", "text", "format", None, "mach-o, pe, elf, bundle, catalog or other",
               lambda s: s.format),
        Column("status", "STATUS", "text", "status", None,
               "valid, invalid, untrusted, adhoc, unsigned or unknown", lambda s: s.status),
        Column("finding", "FINDING", "bool", "status", None, "whether it is reported as found",
               lambda s: s.status in FINDINGS),
        Column("method", "METHOD", "text", "method", None, "how it is signed", lambda s: s.method),
        Column("confidence", "CONFIDENCE", "text", "confidence", None, "what the verdict is worth",
               lambda s: s.confidence),
        Column("signer", "SIGNER", "text", "signer", None, "who signed, or whose package it is", lambda s: s.signer),
        Column("publisher", "PUBLISHER", "text", "parts", None, "organisation in the certificate",
               lambda s: _first(s, "publisher")),
        Column("team", "TEAM", "text", "team", None, "Apple's team id", lambda s: s.team),
        Column("identifier", "IDENTIFIER", "text", "identifier", None, "name that was signed", lambda s: s.identifier),
        Column("signed", "SIGNED", "instant", "signed_at_ns", None, "when, UTC", lambda s: s.signed_at_ns),
        Column("time_source", "TIME SOURCE", "text", "parts", None, "rfc3161, countersignature, or claimed",
               _time_source),
        Column("chain", "CHAIN", "text", "parts", None, "certificates, leaf first", _chain),
        Column("parts", "PARTS", "list", "parts", None, "signatures with the status of each", _parts),
        Column("flags", "FLAGS", "list", "parts", None, "Mach-O: flags of the code directory", _flags),
        Column("entitlements", "ENTITLEMENTS", "list", "parts", None, "Mach-O: names of entitlements", _entitlements),
        Column("requirement", "REQUIREMENT", "text", "parts", None, "Mach-O: the designated requirement",
               lambda s: _first(s, "requirement")),
        Column("notarised", "NOTARISED", "bool", "parts", None, "Mach-O: whether a stapled ticket names it",
               lambda s: _first(s, "notarised")),
        Column("code_hash", "CODE HASH", "text", "parts", None, "cdhash, image digest or package digest",
               lambda s: _first(s, "code_hash")),
        Column("hardening", "HARDENING", "list", "hardening", None, "ELF: what it was built with", _hardening),
        column_at("build_id", "BUILD ID", "text", "hardening.build_id", None, "ELF: the linker's digest"),
        Column("resources", "RESOURCES", "int", "resources", None, "bundles: sealed files", lambda s: s.resources),
        Column("size", "SIZE", "bytes", "size_bytes", None, "of the file", lambda s: s.size_bytes),
        Column("flaws", "FLAWS", "list", "parts", None, "what is wrong, by code", _flaws),
        Column("details", "DETAILS", "text", "parts", None, "what is wrong, in words", _details),
        Column("reason", "REASON", "text", "reason", None, "why, in a sentence", lambda s: s.reason),
    ),
    ("status", "file", "format", "method", "signer", "signed", "confidence", "reason"),
)  # fmt: skip
