"""The services: each its own process, each restartable at any moment; they meet in topics and never import each
other.
"""
