"""Untrusted planner JSON becomes a checked plan, or a list of everything that is wrong with it.

Here belongs what can be said of a plan before anything runs: reading the text, its shape, its
references, its order, its tools, its way back. Here does not belong what a plan is compiled to
(`fsm_saga.machine`) or how it is run. Nothing here calls a tool, opens a file or waits.

Read in this order: `model` (what a plan is), `read` (text to value), `references`, `graph`,
`lint` (the rules, and the functions that the rest of the program calls), `way_back`.
"""
