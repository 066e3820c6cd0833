"""The core: decides what to try next and what a result means. No I/O, no clock, no asyncio."""
