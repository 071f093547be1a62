"""Tests of the long run's own model and plans, which start nothing."""
