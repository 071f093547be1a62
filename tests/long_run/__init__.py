"""The long run: leases on a real exchange with seeded accidents, judged by a model that knows only what was done."""
