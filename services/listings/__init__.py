"""Surplus hardware: listings with inspected GPUs, sales with the money in escrow."""
