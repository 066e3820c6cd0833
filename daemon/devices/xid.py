"""XIDs: the numbers under which NVIDIA's driver reports errors.

The meanings are those of NVIDIA's catalogue (docs.nvidia.com/deploy/xid-errors), in words of our own.
"""

from collections.abc import Mapping

APPLICATION_XIDS = frozenset({13, 31, 43, 45, 68, 109})
"""Errors of the program, after which the device is well; as NVIDIA's device plugin for Kubernetes judges them."""

CLEAN_UP_XID = 45
"""The cleaning up after a process that was killed: it follows every kill of ours, and blames nobody."""

_MEANINGS: Mapping[int, str] = {
    13: "the program made the compute engine fail",
    31: "the program used an address in device memory that it doesn't have",
    32: "a command from the program was damaged on its way",
    38: "the firmware failed",
    43: "the program's work was stopped after an error",
    45: "a program's work was cleaned up after its end or an earlier error",
    48: "an error in its memory could not be corrected",
    61: "its internal controller stopped at a breakpoint",
    62: "its internal controller halted",
    63: "damaged memory was recorded, to be taken out of use",
    64: "damaged memory could not be recorded",
    68: "the program made the video decoder fail",
    69: "the program made the graphics engine fail",
    74: "its NVLink connection failed",
    79: "it has fallen off the bus",
    92: "errors in its memory are frequent, though corrected",
    94: "an uncorrectable memory error hit one program",
    95: "an uncorrectable memory error may have hit every program",
    109: "the program did not let go of the device in time",
    110: "a security fault",
    119: "its system processor did not answer",
    120: "its system processor failed",
    140: "errors in its memory could not be corrected",
    154: "the driver changed what it asks to do about it",
}


def describe(number: int) -> str:
    """What an XID means, for people.

    Example:
        >>> describe(79)
        'XID 79: it has fallen off the bus'
        >>> describe(123)
        "XID 123 (see NVIDIA's XID catalogue)"
    """
    meaning = _MEANINGS.get(number)
    return f"XID {number} (see NVIDIA's XID catalogue)" if meaning is None else f"XID {number}: {meaning}"
