"""Tests of the matching core as a whole: against slow oracles, on streams, and what a command may cost."""
