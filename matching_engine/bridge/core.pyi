"""The exchange's structs as one object, and its names as Python's strings."""

def expect_cache(size: int) -> int:
    """Lets the engines made from now on take it that so many bytes stay in the processor's cache; gives what it was.

    What commands lead to is loaded ahead of them once it is more.
    """
