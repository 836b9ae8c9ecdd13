"""Wires the parts together: the ``Engine`` that the command line and programs use.

Read ``engine.py`` first. ``view.py`` is what is shown of a saga, ``growing.py`` the saga of an
agent that decides as it goes, ``undoing.py`` the way back of a finished one.
"""
