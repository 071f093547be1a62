"""Stand-ins for what a test cannot have for real: a venue at the end of a wire, cheating agents."""
