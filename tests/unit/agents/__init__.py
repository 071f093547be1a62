"""Tests of the node agent, its challenge and its stand-in NVML."""
