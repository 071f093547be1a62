"""From the name that NVML gives a GPU to the grade it is sold as; form factor and memory are part of a grade."""

from agents.node.errors import BadConfiguration

CHIP_GRADES = {
    "NVIDIA H100 80GB HBM3": "H100SXM80",
    "NVIDIA H100 PCIe": "H100PCIE80",
    "NVIDIA H100 NVL": "H100NVL94",
    "NVIDIA H200": "H200SXM141",
    "NVIDIA H200 NVL": "H200NVL141",
    "NVIDIA H20": "H20SXM96",
    "NVIDIA H800": "H800SXM80",
    "NVIDIA B200": "B200SXM180",
    "NVIDIA A100-SXM4-80GB": "A100SXM80",
    "NVIDIA A100-SXM4-40GB": "A100SXM40",
    "NVIDIA A100 80GB PCIe": "A100PCIE80",
    "NVIDIA A100-PCIE-40GB": "A100PCIE40",
    "NVIDIA A800-SXM4-80GB": "A800SXM80",
    "NVIDIA L40S": "L40S48",
    "NVIDIA L40": "L4048",
    "NVIDIA L4": "L424",
    "NVIDIA A40": "A4048",
    "NVIDIA RTX A6000": "RTXA600048",
    "NVIDIA GeForce RTX 5090": "RTX509032",
    "NVIDIA GeForce RTX 4090": "RTX409024",
    "NVIDIA GeForce RTX 4090 D": "RTX4090D24",
    "NVIDIA GeForce RTX 3090": "RTX309024",
}
WHOLE_NODE_GPUS = 8


def chip_grade(name: str) -> str:
    """Returns the grade of one GPU by its NVML name. Raises BadConfiguration where the policy has to name it."""
    if name not in CHIP_GRADES:
        raise BadConfiguration(f"no grade is known for a GPU named {name!r}: name one in the policy (grade = …)")
    return CHIP_GRADES[name]


def node_grade(gpu_grades: tuple[str, ...], whole_node: bool) -> str:
    """Returns what the node is sold as: one grade for all its GPUs, with `X8` where eight go as one."""
    if len(set(gpu_grades)) != 1:
        raise BadConfiguration(f"one node, several grades: {sorted(set(gpu_grades))}")
    if whole_node and len(gpu_grades) != WHOLE_NODE_GPUS:
        raise BadConfiguration(f"a whole node has {WHOLE_NODE_GPUS} GPUs, this one {len(gpu_grades)}")
    return gpu_grades[0] + ("X8" if whole_node else "")
