"""The engine built with checks and sanitizers: no fault, and the same bytes."""
