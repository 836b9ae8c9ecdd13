"""Deterministic simulation: coordinators, store, tools and people in one process, on one seed.

What runs here is the real engine: ``Engine``, ``Coordinator``, ``SagaDriver``, ``decide``, the fold
and the codec. What is played is the world around it: time, chance, the store's disk and its
leases, the tools, the network between them, the people, and everything that goes wrong with them.
One seed decides all of it, so a run that failed fails again.

What belongs here: the played world, the faults, the oracles that judge a run, and what one wants
of a failed run: its one-line re-run, the few faults that it takes, its picture. What does not: any
rule of the engine. An oracle that asks the engine whether the engine is right proves nothing, so
they are written against journals and the tools' ledgers.

Read ``run.py`` first (one seed from start to verdict), then ``faults.py`` (what goes wrong),
``watch.py`` and ``judge.py`` (what must hold). ``python -m fsm_saga.simulation --help`` runs it.
"""
