"""Commands on their way to the engine: limits, the log, who waits for which decision, and repeats."""
