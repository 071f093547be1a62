"""SHA-256 of bytes in memory, by the libcrypto that hashlib uses; called without a Python object between."""

def digest_bytes(text: bytes, by_library: bool = ...) -> bytes:
    """The digest of a message, as the engine takes it; for tests, also the way without the library."""
