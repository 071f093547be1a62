"""Names that were given up for plainer ones do not come back, in the packages that are done with them."""

import re

from infra.places import REPOSITORY
from tests.tidy.test_tree import tracked

# Names, and what to write in their place. These lists may only grow.
GIVEN_UP = {
    "clients/": {"Refused": "CommandError", "Refusal": "ApiError", "tell|told": "show_…, print_…, announce"},
    "console/": {"Refused": "CommandError", "Refusal": "ApiError", "tell|told": "show_…, print_…, announce"},
    "matching_engine/": {
        "COLD|NOT_ORDINARY|UNUSUAL|KEPT|Rarity|rare|rare_\\w+": "SPECIAL, special",
        "Stretch|stretch|stretches": "PeriodRange, period_range",
        "open_claim": "open_position",
        "look_(up|at|around|ahead|behind)\\w*": "prefetch_…",
        "handle": "owner",
        "take_\\w+": "fill_…, reserve_…, read_…, reduce_…",
        "unrest": "remove_order",
        "tell|told|tell_rules": "what it is: indication, event_parts, sync_rules",
        "Refused": "RuleBroken",
        "dear|bears": "overpriced, within_loss_limit",
    },
    "services/": {
        "Errand": "RequestContext",
        "Desk": "GatewayContext",
        "Front": "HotPath",
        "FoldFiles": "ViewSnapshots",
        "Stretch": "PeriodRange",
    },
    "services/gateway/": {
        "decide|Decisions": "submit_and_wait, PendingCommands",
        "tell|told|bury": "publish, fields, dead_letter",
    },
    "benchmarks/harness/": {"load_\\w+": "prefetch_…"},
}
FILES_GIVEN_UP = {
    "matching_engine/rules/states.py": "trading_states.py",
    "matching_engine/rules/timers.py": "deadlines.py",
    "matching_engine/rules/clock.py": "log_time.py",
    "matching_engine/rules/schedule.py": "trading_schedule.py",
    "matching_engine/rules/resell.py": "resell_command.py",
}
# Texts and comments may use any word.
WORDS = re.compile(r'"""[\s\S]*?"""|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|#[^\n]*')


def test_names_that_were_given_up_do_not_come_back():
    sources = {name: WORDS.sub(" ", text) for name, text in tracked(".py", ".pyx", ".pxd", ".pyi")}
    found = [
        f"{path}: {hit.group()} is now {better}"
        for folder, names in GIVEN_UP.items()
        for path, code in sources.items()
        if path.startswith(folder)
        for name, better in names.items()
        if (hit := re.search(rf"\b({name})\b", code))
    ]
    assert found == []


def test_files_that_were_given_up_do_not_come_back():
    assert [name for name in FILES_GIVEN_UP if (REPOSITORY / name).exists()] == []
