"""CUDA's driver as NVIDIA's binding shows it, scripted: which GPUs, how much memory, which call fails and how."""

import ctypes
import sys
import threading
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from agents.node.proof import gpu as gpu_module
from tests.fixtures.emulated_gpu import EmulatedGpu

UUIDS = ("GPU-00000000-1111-2222-3333-444444444444", "GPU-aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee")
PCI_ADDRESSES = ("00000000:18:00.0", "00000000:3B:00.0")
Status = Enum(
    "CUresult",
    "CUDA_SUCCESS CUDA_ERROR_OUT_OF_MEMORY CUDA_ERROR_NO_DEVICE CUDA_ERROR_INVALID_VALUE CUDA_ERROR_INVALID_IMAGE "
    "CUDA_ERROR_ECC_UNCORRECTABLE CUDA_ERROR_ILLEGAL_ADDRESS CUDA_ERROR_DEVICE_UNAVAILABLE",
)
SHARED_SIZE = "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES"
CAPABILITY = [f"CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_{part}" for part in ("MAJOR", "MINOR")]


class ScriptedDriver:
    """Two GPUs of one kind whose kernels an emulated GPU runs.

    `fails` names calls and the status with which they fail; a call named in `after` works so many times before.
    """

    CUresult = Status
    CUdevice_attribute = Enum("CUdevice_attribute", CAPABILITY)
    CUfunction_attribute = Enum("CUfunction_attribute", [SHARED_SIZE])

    def __init__(self, memory_bytes: int = 2**26, taken_bytes: int = 0, capability: tuple[int, int] = (9, 0)) -> None:
        self.fails: dict[str, Status] = {}
        self.after: dict[str, int] = {}
        self.retained: list[int] = []
        self.released: list[int] = []
        self.shared_bytes: dict[str, int] = {}
        self._memory_bytes, self._taken_bytes, self._capability = memory_bytes, taken_bytes, capability
        self._gpus: dict[int, EmulatedGpu] = {}
        self._thread = threading.local()

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        return self._scripted(name, found) if name.startswith("cu") else found

    def _scripted(self, name: str, call: Any) -> Any:
        left = self.after.get(name, 0)
        if name not in self.fails:
            return call
        if left:
            self.after[name] = left - 1
            return call
        return lambda *arguments: (self.fails[name],)

    def cuInit(self, flags: int) -> tuple:
        return (Status.CUDA_SUCCESS,)

    def cuDeviceGetCount(self) -> tuple:
        return Status.CUDA_SUCCESS, len(UUIDS)

    def cuDeviceGet(self, index: int) -> tuple:
        return Status.CUDA_SUCCESS, index

    def cuDeviceGetUuid(self, device: int) -> tuple:
        return Status.CUDA_SUCCESS, SimpleNamespace(bytes=bytes.fromhex(UUIDS[device][4:].replace("-", "")))

    def cuDeviceGetByPCIBusId(self, address: bytes) -> tuple:
        if address.decode() not in PCI_ADDRESSES:
            return (Status.CUDA_ERROR_INVALID_VALUE,)
        return Status.CUDA_SUCCESS, PCI_ADDRESSES.index(address.decode())

    def cuDeviceGetAttribute(self, kind: Enum, device: int) -> tuple:
        return Status.CUDA_SUCCESS, self._capability[CAPABILITY.index(kind.name)]

    def cuDevicePrimaryCtxRetain(self, device: int) -> tuple:
        self.retained.append(device)
        self._gpus[device + 1] = EmulatedGpu(UUIDS[device], memory_bytes=self._memory_bytes)
        return Status.CUDA_SUCCESS, device + 1

    def cuDevicePrimaryCtxRelease(self, device: int) -> tuple:
        self.released.append(device)
        self._gpus.pop(device + 1).close()
        return (Status.CUDA_SUCCESS,)

    def cuCtxSetCurrent(self, context: int) -> tuple:
        self._thread.current = context
        return (Status.CUDA_SUCCESS,)

    def cuModuleLoadData(self, image: bytes) -> tuple:
        return Status.CUDA_SUCCESS, image

    def cuModuleGetFunction(self, module: bytes, name: bytes) -> tuple:
        return Status.CUDA_SUCCESS, name.decode()

    def cuFuncSetAttribute(self, function: str, kind: Enum, value: int) -> tuple:
        self.shared_bytes[function] = value
        return (Status.CUDA_SUCCESS,)

    def cuMemGetInfo(self) -> tuple:
        free, total = self._gpus[self._thread.current].memory()
        return Status.CUDA_SUCCESS, free - self._taken_bytes, total

    def cuMemAlloc(self, size: int) -> tuple:
        return Status.CUDA_SUCCESS, self._gpus[self._thread.current].allocate(size)

    def cuLaunchKernel(self, function: str, *sizes_and_arguments: int) -> tuple:
        blocks, _, _, threads, _, _, shared_bytes, _, arguments, _ = sizes_and_arguments
        if shared_bytes > max(48 * 1024, self.shared_bytes.get(function, 0)):
            return (Status.CUDA_ERROR_INVALID_VALUE,)
        self._gpus[self._thread.current].launch_at(function, blocks, threads, arguments, shared_bytes)
        return (Status.CUDA_SUCCESS,)

    def cuMemcpyDtoH(self, to: int, address: int, size: int) -> tuple:
        ctypes.memmove(to, self._gpus[self._thread.current].read(address, size), size)
        return (Status.CUDA_SUCCESS,)


def bind(monkeypatch: pytest.MonkeyPatch, driver: ScriptedDriver | None) -> None:
    """Puts a scripted driver where NVIDIA's binding is imported from; None: the binding is not installed."""
    bindings = ModuleType("cuda.bindings")
    bindings.driver = driver
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings if driver else None)
    monkeypatch.setattr(gpu_module, "compile_kernels", lambda major, minor: f"sm_{major}{minor}".encode())
