"""Names that were given up for plainer ones do not come back, in the packages that are done with them."""

import re

from tests.tidy.test_tree import tracked

# Names, and what to write in their place. These lists may only grow.
GIVEN_UP = {
    "clients/": {"Refused": "CommandError", "Refusal": "ApiError", "tell|told": "show_…, print_…, announce"},
    "console/": {"Refused": "CommandError", "Refusal": "ApiError", "tell|told": "show_…, print_…, announce"},
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
