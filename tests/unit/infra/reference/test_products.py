"""The gate never closes too late for an honest node to hear of its challenge, at any period."""

import pytest

from infra.reference.products import LeadTooShort, Timing, check_leads, list_products
from schemas.reporting import gate_lead_min_s


@pytest.mark.parametrize(
    ("period_s", "lead_s"), [(6, 8), (10, 10), (20, 15), (60, 35), (300, 50), (1_200, 200), (3_600, 600)]
)
def test_a_sandboxes_gate_leaves_three_report_intervals_and_a_challenges_time(period_s, lead_s):  # M28
    timing = Timing.sandbox(period_s)
    assert timing.gate_lead_s == lead_s >= gate_lead_min_s(period_s)
    check_leads(list_products(timing))


def test_terms_with_a_shorter_lead_are_refused_with_what_is_needed():  # M28
    terms = [product.model_copy(update={"gate_lead_s": 10}) for product in list_products(Timing.sandbox(60))]
    with pytest.raises(LeadTooShort, match="gate_lead_s is 10, at least 35 with periods of 60 s"):
        check_leads(terms)
