"""``fsm-saga bench``: how fast the engine is beside the bare store, measured in one run."""
