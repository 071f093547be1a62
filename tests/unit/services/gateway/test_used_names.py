"""The memory of client ids: sure of a name that was never used, seldom wrong about the others."""

from services.gateway.projections.used_names import UsedNames


def test_every_used_name_is_known_and_few_others_are_taken_for_one():
    names = UsedNames(bits=2**17)
    for number in range(10_000):
        names.add("alice", f"order-{number}")
    assert all(names.may_hold("alice", f"order-{number}") for number in range(10_000))
    mistaken = sum(names.may_hold("bob", f"order-{number}") for number in range(10_000))
    assert mistaken < 300
