"""Every setting that bounds what a caller may do, and what attacks it; the others, and whose bounds they are."""

import re

from infra.settings import InfraSettings
from services.delivery.settings import Settings as DeliverySettings
from services.gateway.settings import GatewaySettings
from services.kit.settings import Settings
from services.ledger.settings import LedgerSettings
from services.listings.settings import Settings as ListingsSettings
from services.market_data.settings import Settings as MarketDataSettings
from services.matching.settings import MatchingSettings

ALL = (
    *(Settings, GatewaySettings, MarketDataSettings, DeliverySettings, ListingsSettings, LedgerSettings),
    *(MatchingSettings, InfraSettings),
)
IS_LIMIT = re.compile(r"(_per_s|_max|_within_s|_login_s)$|^front_(read|idle)_")
ATTACKER = "api/test_one_attacker.py"
NODES = "integration/delivery/test_budgets_of_nodes.py"
FRONT = "integration/infra/test_front_door.py"

# What a caller can spend, fill, or hold: the test that goes far beyond it, at 20 times where the table says ATTACKER.
ATTACKED = {
    "body_bytes_max": f"{ATTACKER}::test_what_is_too_long_is_refused_in_words",
    "bodies_bytes_max": f"{ATTACKER}::test_bodies_that_are_held_leave_room_or_are_sent_away",
    "body_within_s": f"{ATTACKER}::test_half_sent_requests_are_given_up",
    "head_bytes_max": f"{ATTACKER}::test_what_is_too_long_is_refused_in_words",
    "head_within_s": f"{ATTACKER}::test_half_sent_requests_are_given_up",
    "url_bytes_max": f"{ATTACKER}::test_what_is_too_long_is_refused_in_words",
    "unsigned_requests_per_s": f"{ATTACKER}::test_unsigned_requests_have_a_budget_at_every_service",
    "refused_signatures_per_s": f"{ATTACKER}::test_signatures_that_fail_have_a_budget_at_every_service",
    "key_requests_per_s": f"{ATTACKER}::test_a_key_has_a_budget_at_every_service",
    "connections_per_address_max": f"{ATTACKER}::test_an_address_has_so_many_connections_at_every_service",
    "open_requests_per_address_max": f"{ATTACKER}::test_an_address_has_so_many_sockets_through_the_front_door",
    "socket_message_bytes_max": f"{ATTACKER}::test_a_message_that_is_too_long_ends_its_socket",
    "orders_per_s": f"{ATTACKER}::test_a_key_has_a_budget_of_each_kind_at_the_gateway",
    "cancels_per_s": f"{ATTACKER}::test_a_key_has_a_budget_of_each_kind_at_the_gateway",
    "reads_per_s": f"{ATTACKER}::test_an_honest_client_waits_no_longer_than_beside_refused_no_ops",
    "socket_messages_per_s": f"{ATTACKER}::test_messages_of_a_session_have_a_budget",
    "sessions_per_key_max": f"{ATTACKER}::test_a_key_has_so_many_sessions",
    "feed_login_s": f"{ATTACKER}::test_a_socket_that_never_logs_in_is_closed",
    "feed_queue_max": "unit/services/gateway/test_feeds.py::"
    "test_a_session_that_does_not_keep_up_is_ended_and_not_fed_with_holes",
    "market_data_reader_messages_max": "integration/market_data/test_feed.py::"
    "test_a_slow_reader_is_closed_with_a_code_and_its_last_sequence",
    "market_data_reader_streams_max": f"{ATTACKER}::test_streams_of_the_feed_have_a_bound_and_a_pace",
    "market_data_streams_per_s": f"{ATTACKER}::test_streams_of_the_feed_have_a_bound_and_a_pace",
    "node_reports_per_s": f"{NODES}::test_a_flood_of_one_node_is_refused_while_another_accounts_node_is_heard",
    "node_messages_per_s": f"{NODES}::test_a_flood_of_one_node_is_refused_while_another_accounts_node_is_heard",
    "node_requests_at_once_max": "unit/services/delivery/test_node_guard.py::"
    "test_so_many_requests_of_a_node_are_under_way_from_one_address",
    "account_reports_per_s": f"{NODES}::test_all_nodes_of_an_account_share_its_budget",
    "account_messages_per_s": "unit/services/delivery/test_node_guard.py::"
    "test_nodes_of_one_account_pay_together_and_others_are_served",
    "held_requests_max": "unit/services/delivery/test_waiting.py",
    "opening_bytes_max": "unit/services/kit/test_bodies.py",
    "openings_bytes_max": "unit/services/kit/test_bodies.py",
    "proofs_waiting_max": "unit/services/delivery/test_verifying.py",
    "maintenance_ms_max": "unit/services/delivery/test_declarations.py",
    "maintenance_windows_max": f"{NODES}::test_a_node_has_so_many_windows_of_maintenance_to_come",
    "renter_proofs_max": "unit/services/delivery/test_renter_proofs.py",
    "ssh_keys_max": f"{ATTACKER}::test_an_account_has_so_many_ssh_keys",
    "page_size_max": f"{ATTACKER}::test_pages_have_a_longest_length",
    "market_data_page_rows_max": f"{ATTACKER}::test_pages_have_a_longest_length",
    "delivery_page_rows_max": f"{ATTACKER}::test_pages_have_a_longest_length",
    "listings_page_rows_max": f"{ATTACKER}::test_pages_have_a_longest_length",
    "ledger_page_lines_max": f"{ATTACKER}::test_pages_have_a_longest_length",
    "front_read_header_s": f"{FRONT}::test_a_request_that_is_never_finished_is_let_go",
    "front_header_bytes_max": f"{FRONT}::test_a_head_beyond_its_bound_is_refused_before_it_is_read_whole",
    "front_read_body_s": f"{FRONT}::test_a_body_that_does_not_come_whole_is_given_up",
    "front_body_bytes_max": f"{FRONT}::test_a_body_beyond_its_bound_is_refused_in_words",
    "front_idle_s": f"{FRONT}::test_a_connection_that_asks_nothing_more_is_let_go",
}
# Bounds of our own work, of markets and of time, which no caller uses up.
OURS = {
    *("log_lookups_kept_max", "log_lookup_within_s", "positions_ahead_max"),
    *("database_connections_max", "event_log_grows_within_s", "servers_answer_within_s", "unflushed_rows_max"),
    *("market_data_ring_messages_max", "market_data_unwritten_rows_max", "reports_per_batch_max"),
    *("ledger_batch_events_max", "fetch_records_max", "events_waiting_max", "ready_within_s", "start_tries_max"),
    *("log_bytes_max", "ports_free_within_s", "hub_receipt_ms_max", "report_interval_ms_max", "liveness_ms_max"),
    *("score_failures_max", "held_s_max", "round_trip_ms_max", "idle_challenge_ms_max", "sweep_gpus_max"),
    *("absences_max", "throttle_ms_max", "opening_grace_ms_max", "listings_inspection_age_ms_max"),
    "listings_price_per_gpu_max",
}


def limits() -> set[str]:
    """Returns the settings that are limits, by their names."""
    return {name for settings in ALL for name in settings.model_fields if IS_LIMIT.search(name)}
