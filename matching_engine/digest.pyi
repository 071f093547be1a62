"""SHA-256 of bytes in memory: by the processor's instructions where it has them, else by hashlib."""

def digest_bytes(text: bytes, in_hardware: bool = ...) -> bytes:
    """The digest of a message, as the engine takes it; for tests, also without the processor's help."""
