"""The grade that a GPU, and a node, is sold as: what the board says it is, checked against what the policy says."""

from agents.node.errors import BadConfiguration
from schemas.gpu_models import GRADE_OF_NAME as CHIP_GRADES
from schemas.gpu_models import contradiction, grade_by_device, grade_by_name

WHOLE_NODE_GPUS = 8


def chip_grade(
    name: str, pci_device_id: str | None = None, memory_mib: int = 0, policy_grade: str | None = None
) -> str:
    """Returns the grade of one GPU, by its PCI device id where NVML gave one, else by its name.

    Raises BadConfiguration where the policy has to name it, and where the board's PCI device id or name contradicts.
    """
    grade = policy_grade or grade_by_device(pci_device_id, memory_mib) or grade_by_name(name, memory_mib)
    if grade is None or (policy_grade is None and name not in CHIP_GRADES):
        raise BadConfiguration(f"no grade is known for a GPU named {name!r}: name one in the policy (grade = …)")
    if against := contradiction(grade, name, pci_device_id, memory_mib):
        raise BadConfiguration(f"a GPU named {name!r} cannot be sold as {grade}: {against}")
    return grade


def node_grade(gpu_grades: tuple[str, ...], whole_node: bool) -> str:
    """Returns what the node is sold as: one grade for all its GPUs, with `X8` where eight go as one."""
    if len(set(gpu_grades)) != 1:
        grades = ", ".join(sorted(set(gpu_grades)))
        raise BadConfiguration(f"one node, several grades: {grades}; choose GPUs in the policy (gpus = …)")
    if whole_node and len(gpu_grades) != WHOLE_NODE_GPUS:
        raise BadConfiguration(f"a whole node has {WHOLE_NODE_GPUS} GPUs, this one {len(gpu_grades)}")
    return gpu_grades[0] + ("X8" if whole_node else "")
