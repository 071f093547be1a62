"""What a node is sold as."""

import re

import pytest

from agents.node.errors import BadConfiguration
from agents.node.grades import CHIP_GRADES, chip_grade, node_grade


def test_form_factor_and_memory_are_part_of_a_grade():
    names = ("NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA H20", "NVIDIA GeForce RTX 4090 D")
    assert [chip_grade(name) for name in names] == ["H100SXM80", "H100PCIE80", "H20SXM96", "RTX4090D24"]


def test_every_known_grade_is_one_that_a_product_can_have():
    assert [grade for grade in CHIP_GRADES.values() if not re.fullmatch("[A-Z0-9]{2,22}", grade)] == []


def test_eight_gpus_that_go_together_are_another_grade():
    assert node_grade(("H100SXM80",) * 8, whole_node=True) == "H100SXM80X8"
    assert node_grade(("H100SXM80",) * 8, whole_node=False) == "H100SXM80"


@pytest.mark.parametrize(
    "grades, whole_node, words",
    [(("H100SXM80", "H20SXM96"), False, "several grades"), (("H100SXM80",) * 4, True, "a whole node has 8 GPUs")],
)
def test_a_node_of_several_grades_or_too_few_gpus_is_refused(grades, whole_node, words):
    with pytest.raises(BadConfiguration, match=words):
        node_grade(grades, whole_node)
