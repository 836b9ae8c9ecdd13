"""``fsm-saga bench``: how fast the engine is beside the bare store, measured in one run.

Times differ from machine to machine and from minute to minute; what counts are the ratios. So
the bare store and the engine are measured on the same disk, in turn, several times over, and
every number comes with its spread. Read ``command.py`` first.
"""
