"""Small programs that use fsm_saga; each one is executed by ``tests/docs/test_examples.py``."""
