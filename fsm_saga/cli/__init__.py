"""The command line: what people and programs type, and what they are told.

Here belongs how a command is read and how its answer is printed. What does not belong here: any
decision about a saga. Each command is a file of its own and is imported only when it is used, so
``--help`` starts at once.

Read ``app.py`` first (which commands there are, where every error ends), then ``running.py`` (how
a command waits and is interrupted), ``output.py`` (the only way to stdout) and ``run.py``.
"""
