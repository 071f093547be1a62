"""A stand-in for `libnvidia-ml.so.1`, scripted by a scenario file and read by the real pynvml; it marks itself."""
