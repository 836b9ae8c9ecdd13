"""Drives sagas: asyncio lives here and nowhere below.

What belongs here: loading, deciding, appending, calling, timing. What does not: any rule of
what follows from what (``core``), any knowledge of a particular store or tool. Read
``driver.py`` first, then ``coordinator.py``.
"""
