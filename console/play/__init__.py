"""A market that lives: played sites and traders on a running exchange, through its public APIs, until it is ended."""
