"""Golden scenarios of the engine: what people do on the left, what the engine says on the right."""
