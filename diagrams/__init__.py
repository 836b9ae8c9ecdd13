"""Pictures of the machines and of every example, and the program that draws them.

Nothing here is drawn by hand: ``make.py`` takes the tables that run and the plans of the
examples. The pictures are kept so that a review sees how a change looks.
"""
