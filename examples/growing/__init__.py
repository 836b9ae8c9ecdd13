"""An agent that decides as it goes; everything is in ``agent.py``."""
