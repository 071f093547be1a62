"""What a GPU and a node are sold as: PCI device ids, names, what the policy says, and products for all of them."""

import re

import pytest

from agents.node.errors import BadConfiguration
from agents.node.grades import CHIP_GRADES, chip_grade, node_grade
from infra.reference.products import Timing, list_products
from schemas.gpu_models import GRADE_OF_DEVICE, GRADES
from services.delivery.domain import memory_min_mib


def test_form_factor_and_memory_are_part_of_a_grade():
    names = ("NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA H20", "NVIDIA GeForce RTX 4090 D")
    assert [chip_grade(name) for name in names] == ["H100SXM80", "H100PCIE80", "H20SXM96", "RTX4090D24"]


def test_every_grade_that_a_name_or_a_device_id_leads_to_is_a_listed_product():  # A22
    listed = {product.grade for product in list_products(Timing())}
    assert GRADES - listed == set()
    assert [grade for grade in GRADES if not re.fullmatch("[A-Z0-9]{2,22}", grade) or not memory_min_mib(grade)] == []


def test_every_single_board_grade_that_is_listed_is_one_that_a_name_leads_to():  # A22
    listed = {product.grade for product in list_products(Timing()) if not product.grade.endswith("X8")}
    assert listed - GRADES == set()


@pytest.mark.parametrize(
    "name, device, memory_mib, grade",
    [
        ("NVIDIA RTX A6000", "223010de", 49_140, "A600048"),
        ("NVIDIA GeForce RTX 4090", "268410de", 24_564, "RTX409024"),
        ("NVIDIA GeForce RTX 4090", "268410de", 49_140, "RTX409048"),
        ("NVIDIA RTX 6000 Ada Generation", None, 49_140, "RTX6000ADA48"),
        ("Tesla V100-SXM2-16GB", "1db110de", 16_384, "V100SXM16"),
    ],
)
def test_the_board_says_what_it_is(name, device, memory_mib, grade):
    assert chip_grade(name, device, memory_mib) == grade


@pytest.mark.parametrize(
    "name, device, policy_grade, words",
    [
        ("NVIDIA H100 PCIe", "233010de", None, "its name 'NVIDIA H100 PCIe' is that of H100PCIE80"),
        ("NVIDIA H100 80GB HBM3", "233010de", "H200SXM141", "its PCI device id 2330 is that of H100SXM80"),
        ("NVIDIA GeForce GTX 1650", "1f8210de", "H100SXM80", "its PCI device id 1f82 is of no such board"),
        ("NVIDIA L4", None, "H100SXM80", "its name 'NVIDIA L4' is that of L424"),
        ("Voodoo 2", None, None, "no grade is known for a GPU named 'Voodoo 2'"),
        ("Voodoo 2", "233010de", None, "no grade is known for a GPU named 'Voodoo 2'"),
    ],
)
def test_a_grade_that_the_board_contradicts_is_refused(name, device, policy_grade, words):
    with pytest.raises(BadConfiguration, match=re.escape(words)):
        chip_grade(name, device, 81_559, policy_grade)


def test_a_board_that_no_table_knows_is_sold_as_the_policy_says():
    assert chip_grade("NVIDIA B300", "318210de", 275_000, "B300SXM270") == "B300SXM270"


def test_names_and_device_ids_lead_to_the_same_grades():
    assert set(CHIP_GRADES.values()) == set(GRADE_OF_DEVICE.values())


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
