"""Faults, on purpose: processes killed, frozen and restarted, and every figure right afterwards."""
