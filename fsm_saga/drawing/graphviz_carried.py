"""Draws DOT with the Graphviz that the pygraphviz wheel carries. Run as a script, never imported.

It runs in a process of its own: the library cannot be stopped once it lays out, is not safe in
threads, and writes its warnings where it likes. Reads DOT from standard input; the arguments are
the layout, the format and the dots per inch.
"""

from __future__ import annotations

import sys

import pygraphviz


def main() -> int:
    """Draw and return the exit code."""
    layout, drawn_format, dots_per_inch = sys.argv[1:4]
    graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode())
    if drawn_format == "png":
        graph.graph_attr["dpi"] = dots_per_inch
    sys.stdout.buffer.write(graph.draw(format=drawn_format, prog=layout))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
