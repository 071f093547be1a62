"""One GPU by CUDA's driver: chosen by UUID or PCI address, its memory, its kernels; every failure is one line."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from agents.node.errors import ProofFailed
from agents.node.proof.compiler import EXTRA, compile_kernels

# More shared memory than this has to be asked for, kernel by kernel.
SHARED_BYTES_USUAL = 48 * 1024
OLD_DRIVER = "a driver below 580 needs hourbook-agent[cuda12] in place of [cuda]"
HINTS = {
    "CUDA_ERROR_NO_BINARY_FOR_GPU": OLD_DRIVER,
    "CUDA_ERROR_INVALID_IMAGE": OLD_DRIVER,
    "CUDA_ERROR_OUT_OF_MEMORY": "something else has taken memory of this GPU",
    "CUDA_ERROR_DEVICE_UNAVAILABLE": "another process has it alone, or its compute mode forbids it",
}


class Gpu(Protocol):
    """A GPU as the backend uses it. Addresses are numbers; calls may come from any one thread at a time.

    Every call raises ProofFailed with one line where the driver refuses it; after that only `close` is of use.
    """

    def memory(self) -> tuple[int, int]:
        """Returns free and total bytes."""

    def allocate(self, size: int) -> int:
        """Takes so many bytes and returns their address."""

    def launch(self, kernel: str, blocks: int, threads: int, arguments: Sequence[Any], shared_bytes: int = 0) -> None:
        """Starts a kernel behind those started before; arguments are ctypes values."""

    def read(self, address: int, size: int) -> bytes:
        """Returns bytes of the GPU's memory once all kernels have ended."""

    def close(self) -> None:
        """Frees everything that was taken; a second call does nothing."""


class Driver:
    """CUDA's driver on this machine. Raises ProofFailed where the binding or the driver is missing."""

    def __init__(self) -> None:
        try:
            from cuda.bindings import driver
        except ImportError:
            raise ProofFailed(f"the CUDA backend of the proof is not installed: {EXTRA}") from None
        self.binding = driver
        self.call("CUDA", "cuInit", 0)

    def call(self, about: str, function: str, *arguments: Any) -> Any:
        """Calls a function of the driver; a failure names the GPU that it is about, the call and its code."""
        try:
            status, *results = getattr(self.binding, function)(*arguments)
        except RuntimeError as error:  # how the binding says that it finds no driver, or not this call in it
            raise ProofFailed(f"the CUDA driver is missing or too old: {str(error).strip().splitlines()[0]}") from None
        except ValueError as error:  # a newer driver's status that the binding has no name for
            raise ProofFailed(f"{about}: {function}: {error}") from None
        if status != self.binding.CUresult.CUDA_SUCCESS:
            hint = f": {HINTS[status.name]}" if status.name in HINTS else ""
            raise ProofFailed(f"{about}: {function} answers {status.name}{hint}")
        return results[0] if len(results) == 1 else tuple(results)

    def uuids(self) -> list[str]:
        """Returns the UUIDs of the GPUs that CUDA lists, as NVML writes them, in CUDA's order."""
        devices = (self.call("CUDA", "cuDeviceGet", index) for index in range(self.call("CUDA", "cuDeviceGetCount")))
        return [self.uuid(device) for device in devices]

    def uuid(self, device: Any) -> str:
        """Returns a device's UUID, as NVML writes it."""
        text = self.call("CUDA", "cuDeviceGetUuid", device).bytes.hex()
        return f"GPU-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def find(self, name: str) -> Any:
        """Returns the device of this UUID or PCI address. Raises ProofFailed where there is none."""
        if not name.startswith("GPU-"):
            return self.call(name, "cuDeviceGetByPCIBusId", name.encode())
        listed = self.uuids()
        if name not in listed:
            raise ProofFailed(f"CUDA lists no {name}, but {', '.join(listed) or 'none'}: is CUDA_VISIBLE_DEVICES set?")
        return self.call(name, "cuDeviceGet", listed.index(name))

    def capability(self, name: str) -> tuple[int, int]:
        """Returns the compute capability of a GPU, such as (9, 0). Raises ProofFailed where there is no such GPU."""
        device, kinds = self.find(name), self.binding.CUdevice_attribute
        major = kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
        minor = kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR
        return tuple(self.call(name, "cuDeviceGetAttribute", kind, device) for kind in (major, minor))


class CudaGpu:
    """A GPU of this machine, in this process. Nothing of it is held before it is made and after it was closed."""

    def __init__(self, name: str, kernels: Callable[[int, int], bytes] | None = None) -> None:
        """Opens the GPU of this UUID or PCI address. Raises ProofFailed where there is none, or no driver."""
        self._name, self._driver = name, Driver()
        self._context: Any = None
        self._functions: dict[str, Any] = {}
        self._device = self._driver.find(name)
        cubin = (kernels or compile_kernels)(*self._driver.capability(name))
        self._context = self._driver.call(name, "cuDevicePrimaryCtxRetain", self._device)
        try:
            self._module = self._call("cuModuleLoadData", cubin)
        except ProofFailed:
            self.close()
            raise

    def memory(self) -> tuple[int, int]:
        """Returns free and total bytes."""
        return self._call("cuMemGetInfo")

    def allocate(self, size: int) -> int:
        """Takes memory."""
        return int(self._call("cuMemAlloc", size))

    def launch(self, kernel: str, blocks: int, threads: int, arguments: Sequence[Any], shared_bytes: int = 0) -> None:
        """Starts a kernel."""
        function = self._functions.get(kernel)
        if function is None:
            function = self._functions[kernel] = self._call("cuModuleGetFunction", self._module, kernel.encode())
            if shared_bytes > SHARED_BYTES_USUAL:
                kind = self._driver.binding.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
                self._call("cuFuncSetAttribute", function, kind, shared_bytes)
        given = address_array(arguments)
        sizes = (blocks, 1, 1, threads, 1, 1)
        self._call("cuLaunchKernel", function, *sizes, shared_bytes, 0, ctypes.addressof(given), 0)

    def read(self, address: int, size: int) -> bytes:
        """Returns bytes of its memory."""
        to = ctypes.create_string_buffer(size)
        self._call("cuMemcpyDtoH", ctypes.addressof(to), address, size)
        return to.raw

    def close(self) -> None:
        """Frees the context, and with it all memory: also after an error that leaves a context of no more use."""
        if self._context is not None:
            self._context = None
            self._driver.binding.cuCtxSetCurrent(0)
            self._driver.binding.cuDevicePrimaryCtxRelease(self._device)

    def _call(self, function: str, *arguments: Any) -> Any:
        """Calls with the GPU's context, which CUDA keeps for each thread apart."""
        if self._context is None:
            raise ProofFailed(f"{self._name} was closed")
        self._driver.call(self._name, "cuCtxSetCurrent", self._context)
        return self._driver.call(self._name, function, *arguments)


def address_array(arguments: Sequence[Any]) -> ctypes.Array:
    """Returns the addresses of a kernel's arguments, as a launch takes them; they live as long as the arguments."""
    return (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(each) for each in arguments))
