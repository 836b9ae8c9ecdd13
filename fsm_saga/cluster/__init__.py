"""Coordinators that share a store: who leads what, handing over, one engine for each shard."""
