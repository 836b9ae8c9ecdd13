"""A trip that is booked step by step, and unbooked when a step fails. Start with ``demo.py``."""
