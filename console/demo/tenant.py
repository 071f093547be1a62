"""What the demo's buyer runs on a real GPU: a process that keeps memory on every device it is shown and writes to it.

It needs nothing but the driver: CUDA's driver API through ctypes.
"""

import ctypes
import time

MEMORY_BYTES = 256 << 20
PAUSE_S = 0.05


class CudaError(Exception):
    """A call of the driver API failed; the argument names it and its code."""


class Device:
    """One visible GPU with memory of ours on it."""

    def __init__(self, cuda: ctypes.CDLL, ordinal: int) -> None:
        self._cuda = cuda
        self._context, self._memory = ctypes.c_void_p(), ctypes.c_uint64()
        device = ctypes.c_int()
        call(cuda.cuDeviceGet, ctypes.byref(device), ordinal)
        call(cuda.cuDevicePrimaryCtxRetain, ctypes.byref(self._context), device)
        call(cuda.cuCtxSetCurrent, self._context)
        call(cuda.cuMemAlloc_v2, ctypes.byref(self._memory), ctypes.c_size_t(MEMORY_BYTES))

    def work(self, value: int) -> None:
        """Fills the memory."""
        call(self._cuda.cuCtxSetCurrent, self._context)
        call(self._cuda.cuMemsetD8_v2, self._memory, ctypes.c_ubyte(value), ctypes.c_size_t(MEMORY_BYTES))
        call(self._cuda.cuCtxSynchronize)


def call(function, *arguments) -> None:
    """Calls the driver. Raises CudaError."""
    if code := function(*arguments):
        raise CudaError(f"{function.__name__}: {code}")


def main() -> None:
    """Works until it is ended."""
    cuda = ctypes.CDLL("libcuda.so.1")
    count = ctypes.c_int()
    call(cuda.cuInit, 0)
    call(cuda.cuDeviceGetCount, ctypes.byref(count))
    devices = [Device(cuda, ordinal) for ordinal in range(count.value)]
    value = 0
    while True:
        value = (value + 1) % 256
        for device in devices:
            device.work(value)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
