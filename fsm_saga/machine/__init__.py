"""The two machines as python-statemachine classes, and the way from a class to a table.

Here belongs everything that knows python-statemachine: the class of the saga machine, built for
the shape of a plan, the fixed class of the step machine, and their flattening into the tables
that the engine runs. What does not belong here: decisions (``core``), reading of plans
(``plan``), pictures (``drawing``).

Read ``step_machine.py`` first: it is a machine as one would write it on paper. Then
``saga_machine.py``, which does the same for any number of steps, and ``flatten.py``.
"""
