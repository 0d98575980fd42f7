"""Xid lines of the NVIDIA driver, from dmesg, journald or a monitoring agent.

Xid 31 names an address and whether it was read or written; Xid 13 names neither, only the
units that saw the fault. The others say what else can end a process.
"""

from __future__ import annotations

import re

from triage.dump.observation import Access, Failure, Form, Observation
from triage.importers.passage import Passage, shown

HEAD = re.compile(
    r"Xid\s{0,2}\((?:PCI:)?(?P<pci>[0-9a-fA-F:.]{4,20})\)\s{0,2}:?\s{0,2}(?P<xid>\d{1,3})\b,?"
    r"|\bXid:?\s{1,3}(?P<listed>\d{1,3})\b,?(?=.{0,120}(?:ACCESS_TYPE_|PCI:[0-9a-fA-F]{4}))"
    r"(?:.{0,12}PCI:(?P<at>[0-9a-fA-F:.]{4,20}))?"
)
"""The driver's own line, or one of a list that somebody made of several."""
_FAULT = re.compile(r"(?:faulted )?@ (?P<address>0x[0-9a-fA-F_]{2,20})")
_ACCESS = re.compile(r"ACCESS_TYPE_\w{0,8}?(?P<access>READ|WRITE|ATOMIC)")
_TYPE = re.compile(r"Fault is of type (?P<type>\w{3,40})")
_PROCESS = re.compile(r"pid='?(?P<pid>\d{1,10})'?(?:,\s{0,2}name=(?P<name>[^,\s]{1,64}))?")

MEANING = {
    13: "an exception of a shader; the driver's line holds no address",
    31: "a page fault of the GPU's memory unit",
    32: "a command buffer that the GPU could not read",
    38: "firmware of the GPU",
    43: "the process was stopped after an earlier fault",
    45: "work was taken off the GPU: the process ended, or an earlier Xid is the cause",
    48: "a double-bit memory error (hardware)",
    61: "firmware of the GPU",
    62: "firmware of the GPU",
    63: "a memory row was remapped (hardware)",
    64: "a memory row could not be remapped (hardware)",
    68: "the video processor",
    69: "a graphics engine exception",
    74: "NVLink (hardware)",
    79: "the GPU fell off the bus (hardware)",
    92: "many single-bit memory errors (hardware)",
    94: "a contained memory error (hardware)",
    95: "an uncontained memory error (hardware)",
    109: "a context switch that did not end in time",
    119: "the GPU's system processor did not answer",
    120: "the GPU's system processor",
    137: "an NVLink fault (remote access)",
    154: "the GPU needs to be reset",
}


def parse(passage: Passage, source: str) -> Observation:
    """The Xid at the passage's first line, wrapped or not."""
    text = passage.head.text
    head = HEAD.search(text)
    assert head is not None
    number = int(head["xid"] or head["listed"])
    pci = (head["pci"] or head["at"] or "").lower()
    if number == 31 and "ACCESS_TYPE" not in text:
        text = passage.joined(4, until=HEAD)
    fault, access, process = _FAULT.search(text), _ACCESS.search(text), _PROCESS.search(text)
    kind = _TYPE.search(text)
    values = {"xid": number, "pci": pci, "means": MEANING.get(number, "")}
    rank = f"GPU {pci}" if pci else ""
    if process is not None:
        values |= {"pid": int(process["pid"]), "process": process["name"] or ""}
        rank = f"pid {process['pid']}"
    if kind is not None:
        values["fault_type"] = kind["type"]
    if number == 13 and "Out Of Range" in text:
        failure = Failure.OUT_OF_RANGE_SHARED
    elif number == 13 and "Misaligned" in text:
        failure = Failure.MISALIGNED
    elif number == 13 and "Illegal Instruction" in text:
        failure = Failure.ILLEGAL_INSTRUCTION
    elif number == 13:
        failure = Failure.DEVICE_EXCEPTION
    else:
        failure = Failure.ILLEGAL_ADDRESS if number == 31 else Failure.OTHER_CUDA
    if number in (43, 45):
        failure = Failure.ENDED
    if "(hardware)" in MEANING.get(number, ""):
        failure = Failure.HARDWARE
    kinds = {"READ": Access.READ, "WRITE": Access.WRITE, "ATOMIC": Access.WRITE}
    return Observation(
        Form.DRIVER,
        failure,
        source,
        passage.head.number,
        rank,
        passage.head.time,
        access=Access.UNKNOWN if access is None else kinds[access["access"]],
        space="global" if number == 31 else "",
        address=None if fault is None else int(fault["address"].replace("_", ""), 16),
        values=values,
        text=shown([passage.head]),
    )
