"""A hub's beacon: measures how far nodes are, and signs what it measured."""
