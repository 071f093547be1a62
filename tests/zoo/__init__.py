"""The zoo: cheating nodes, each a program of its own, against the real delivery service."""
