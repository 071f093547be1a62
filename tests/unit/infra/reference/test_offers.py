"""The real offers: every row becomes a site or is reported, and no ask is rounded down."""

import csv
from decimal import Decimal
from importlib.resources import files

from infra.reference.offers import ask_per_gpu_micros, load_offers
from infra.reference.products import Timing, list_products

ROWS = list(csv.DictReader((files("infra.reference") / "gpu_rental_offers.csv").read_text().splitlines()))


def test_every_offer_is_a_site_or_reported():
    sites, unmapped = load_offers()
    assert len(sites) + len(unmapped) == len(ROWS)
    assert {each.place for each in unmapped} == {"US", "China CN"}


def test_asks_are_rounded_up_to_the_tick():
    assert ask_per_gpu_micros("3.73", 2, 1_000) == 1_865_000
    assert ask_per_gpu_micros("17.88", 8, 1_000) == 2_235_000
    assert ask_per_gpu_micros("0.93", 8, 1_000) == 117_000
    sites, _ = load_offers()
    cheapest = min(Decimal(row["usd_per_hour_total"]) / int(row["gpus"]) for row in ROWS)
    assert all(site.ask_micros >= cheapest * 1_000_000 for site in sites)


def test_a_site_of_eight_linked_gpus_is_sold_as_a_whole_node():
    sites, _ = load_offers()
    whole = {site.node_grade for site in sites if site.node_grade.endswith("X8")}
    assert whole == {"H200SXM141X8", "H100SXM80X8", "A100SXM80X8", "A100SXM40X8"}
    assert all(site.gpus == 8 for site in sites if site.node_grade in whole)


def test_every_site_can_sell_in_a_product_of_its_hub():
    products = {each.product: each for each in list_products(Timing())}
    sites, _ = load_offers()
    assert all(f"{site.node_grade}.{site.hub}.F" in products for site in sites)
    assert all(site.ask_micros % products[f"{site.node_grade}.{site.hub}.F"].tick_micros == 0 for site in sites)
    assert {each.currency for each in products.values()} == {"CNY", "USD"}
