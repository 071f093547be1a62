"""From what a GPU says it is to the grade it is sold as: by its PCI device id, with NVML's name as a cross-check.

Device ids are those of the PCI ID database (pci-ids.ucw.cz, vendor 10de, August 2026), names those that NVML gives.
The form factor and the memory are part of a grade. A board with more memory than its chip was sold with (the 4090 of
48 GB) has the device id and name of the smaller one, so its memory decides.
"""

from typing import NamedTuple

NVIDIA = "10de"
GIB_48_MIN_MIB = 46_000


class GpuModel(NamedTuple):
    """A model: the grade it is sold as, the PCI device ids, and the NVML names that it goes by."""

    grade: str
    device_ids: tuple[str, ...]
    names: tuple[str, ...]


MODELS = (
    GpuModel("H100SXM80", ("2330",), ("NVIDIA H100 80GB HBM3",)),
    GpuModel("H100PCIE80", ("2331",), ("NVIDIA H100 PCIe",)),
    GpuModel("H100NVL94", ("2321",), ("NVIDIA H100 NVL",)),
    GpuModel("H200SXM141", ("2335",), ("NVIDIA H200",)),
    GpuModel("H200NVL141", ("233b",), ("NVIDIA H200 NVL",)),
    GpuModel("H20SXM96", ("2329",), ("NVIDIA H20",)),
    GpuModel("H800SXM80", ("2324",), ("NVIDIA H800",)),
    GpuModel("B200SXM180", ("2901",), ("NVIDIA B200",)),
    GpuModel("A100SXM80", ("20b2",), ("NVIDIA A100-SXM4-80GB",)),
    GpuModel("A100SXM40", ("20b0",), ("NVIDIA A100-SXM4-40GB",)),
    GpuModel("A100PCIE80", ("20b5",), ("NVIDIA A100 80GB PCIe",)),
    GpuModel("A100PCIE40", ("20f1",), ("NVIDIA A100-PCIE-40GB",)),
    GpuModel("A800SXM80", ("20f3",), ("NVIDIA A800-SXM4-80GB",)),
    GpuModel("L40S48", ("26b9",), ("NVIDIA L40S",)),
    GpuModel("L4048", ("26b5",), ("NVIDIA L40",)),
    GpuModel("L424", ("27b8",), ("NVIDIA L4",)),
    GpuModel("A4048", ("2235",), ("NVIDIA A40",)),
    GpuModel("A600048", ("2230",), ("NVIDIA RTX A6000",)),
    GpuModel("RTX6000ADA48", ("26b1",), ("NVIDIA RTX 6000 Ada Generation",)),
    GpuModel("RTXPRO6000S96", ("2bb5",), ("NVIDIA RTX PRO 6000 Blackwell Server Edition",)),
    GpuModel("RTX509032", ("2b85",), ("NVIDIA GeForce RTX 5090",)),
    GpuModel("RTX409024", ("2684",), ("NVIDIA GeForce RTX 4090",)),
    GpuModel("RTX4090D24", ("2685",), ("NVIDIA GeForce RTX 4090 D",)),
    GpuModel("RTX309024", ("2204",), ("NVIDIA GeForce RTX 3090",)),
    GpuModel("RTX308010", ("2206",), ("NVIDIA GeForce RTX 3080",)),
    GpuModel("V100SXM16", ("1db1",), ("Tesla V100-SXM2-16GB", "NVIDIA V100-SXM2-16GB")),
)
LARGER_BOARDS = {"RTX409024": "RTX409048"}
GRADE_OF_NAME = {name: model.grade for model in MODELS for name in model.names}
GRADE_OF_DEVICE = {device: model.grade for model in MODELS for device in model.device_ids}
GRADES = frozenset({*GRADE_OF_NAME.values(), *LARGER_BOARDS.values()})


def grade_by_device(pci_device_id: str | None, memory_mib: int) -> str | None:
    """Returns the grade of a PCI device id as NVML gives it (`233010de`); None for one that is not in the table."""
    if pci_device_id is None or not pci_device_id.endswith(NVIDIA):
        return None
    return _by_memory(GRADE_OF_DEVICE.get(pci_device_id[:4]), memory_mib)


def grade_by_name(name: str, memory_mib: int) -> str | None:
    """Returns the grade of NVML's name; None for one that is not in the table."""
    return _by_memory(GRADE_OF_NAME.get(name), memory_mib)


def contradiction(grade: str, name: str, pci_device_id: str | None, memory_mib: int) -> str:
    """Says what speaks against a GPU's grade: its PCI device id or its name; "" where nothing does.

    A device id that is not in the table cannot be a grade whose ids are known; an id that nobody gave says nothing.
    """
    known_id = pci_device_id[:4] if pci_device_id is not None and pci_device_id.endswith(NVIDIA) else "0000"
    by_device = grade_by_device(pci_device_id, memory_mib)
    if known_id != "0000" and by_device != grade and (by_device is not None or grade in GRADES):
        return f"its PCI device id {known_id} is {'that of ' + by_device if by_device else 'of no such board'}"
    by_name = grade_by_name(name, memory_mib)
    return f"its name {name!r} is that of {by_name}" if by_name is not None and by_name != grade else ""


def _by_memory(grade: str | None, memory_mib: int) -> str | None:
    return LARGER_BOARDS.get(grade, grade) if grade and memory_mib >= GIB_48_MIN_MIB else grade
