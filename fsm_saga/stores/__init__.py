"""Where journals live: adapters of the ``Store`` port, chosen by URL.

Here belongs what writes, reads and locks; nothing here decides about a saga. Whatever passes
``tests/conformance`` may join. Read ``opening.py`` first, then ``codec.py`` for what is stored,
then ``sqlite.py``: behind it ``group_commit.py`` says when, ``sqlite_writer.py`` what is written.
``heads.py`` has what protects heads in every store.
"""
