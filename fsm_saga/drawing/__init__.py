"""Pictures of plans, sagas and machines: as SVG, PNG, DOT, Mermaid and plain text.

Here belongs everything that turns what is known into something to look at, in three moves that
never mix: *extract* (a program, a table or a journal becomes a neutral ``Picture``), *write* (a
picture becomes DOT, Mermaid or text) and *render* (Graphviz turns DOT into SVG or PNG). What does
not belong here: any decision about a saga. A picture shows tables and records, it never guesses
at a transition.

Everything that a planner or a tool wrote is text in a picture and nothing else: ids are ours,
labels are cleaned (``plain.py``), each writer escapes for its own format, and what Graphviz
wrote is checked before anybody gets it (``svg.py``).

Read ``picture.py`` first, then ``theme.py`` (how each role looks), then one of the extractors.
"""
