"""The pure core: what follows from what, and nothing that waits, writes or talks.

Only passive parts of the standard library are imported here. Read ``table.py`` first, then
``decide.py``; ``invariants.py`` lists what must hold.
"""
