"""The agent's configuration file: what cannot be followed is refused when it is loaded, in one line with its key.

Tier: default, under a second. Case P09 of the field, and others of its kind.
"""

import pytest

from agents.node.client import ApiKey
from agents.node.config import AgentConfig
from agents.node.errors import BadConfiguration

CONFIG = """\
state_dir = "state"
policy = "policy.toml"
api_key = "operator"
api_key_file = "operator.key"
[venue]
gateway_url = "http://127.0.0.1:18080"
delivery_url = "https://venue.example/delivery"
market_data_url = "http://[::1]:18081/"
"""

REFUSED = {
    "P09 no scheme": ("http://127.0.0.1:18080", "127.0.0.1:18080", "venue.gateway_url: should be an address"),
    "P09 other scheme": ("http://127.0.0.1:18080", "ftp://127.0.0.1", "venue.gateway_url: should be an address"),
    "no host": ("http://127.0.0.1:18080", "http://", "venue.gateway_url: should be an address"),
    "no such port": ("http://127.0.0.1:18080", "http://host:99999", "venue.gateway_url: should be an address"),
    "half an IPv6 host": ("http://127.0.0.1:18080", "http://[::1", "venue.gateway_url: should be an address"),
    "space": ("http://127.0.0.1:18080", "http://127.0.0.1:18080 ", "venue.gateway_url: should be an address"),
    "query": ("http://127.0.0.1:18080", "http://127.0.0.1:18080/?a=1", "venue.gateway_url: should be an address"),
    "P09 token file": ("[venue]", 'token_file = "none"\n[venue]', "token_file .*/none: there is no such file"),
    "token file is a folder": ("[venue]", 'token_file = "/tmp"\n[venue]', "token_file /tmp: is a folder"),
    "two tokens": ("[venue]", 'token = "a"\ntoken_file = "b"\n[venue]', "set either token or token_file, not both"),
    "empty token": ("[venue]", 'token = ""\n[venue]', "token should have 1 to 4096 characters"),
    "number as token": ("[venue]", "token = 7\n[venue]", "token: .*valid string"),
    "wrong key": ('"operator"', '"two words"', "api_key: should be 1 to 64 letters"),
    "unknown key": ("[venue]", "colour = 1\n[venue]", "colour: there is no such key"),
    "unknown address": ("[venue]", '[venue]\nledger_url = "http://a"', "venue.ledger_url: there is no such key"),
    "missing address": ('gateway_url = "http://127.0.0.1:18080"\n', "", "venue.gateway_url: is missing"),
    "state in a file": ('"state"', '"/etc/passwd"', "state_dir: /etc/passwd is not a folder"),
    "no time to stop": ("[venue]", "stop_timeout_s = 0\n[venue]", "stop_timeout_s: .*greater than 0"),
    "no number": ("[venue]", "http_timeout_s = nan\n[venue]", "http_timeout_s: "),
    "TOML error": ("[venue]", "[venue", "at line 5"),
    "unknown user": ('"state"', '"~no-such-user/state"', "home directory"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_followed_is_refused_in_one_line_with_its_key(tmp_path, case):
    old, new, words = REFUSED[case]
    file = tmp_path / "agent.toml"
    file.write_text(CONFIG.replace(old, new))
    with pytest.raises(BadConfiguration, match=words) as refused:
        AgentConfig.load(file)
    assert "\n" not in str(refused.value)


def test_a_sound_file_is_read_with_its_paths_from_its_folder(tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text(CONFIG)
    config = AgentConfig.load(file)
    assert (config.state_dir, config.read_token()) == (tmp_path / "state", None)


def test_a_token_file_may_go_once_the_node_is_enrolled(tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text(CONFIG.replace("[venue]", 'token_file = "token"\n[venue]'))
    (tmp_path / "token").write_text("secret\n")
    assert AgentConfig.load(file).read_token() == "secret"
    (tmp_path / "token").unlink()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "node.json").write_text("{}")
    assert AgentConfig.load(file).read_token() is None


@pytest.mark.parametrize("content", [b"", b"not hex", b"ab", b"\xff\xfe", b"ab" * 33, b"\0" * 32])
def test_a_file_that_holds_no_api_key_is_named_and_its_content_is_not_shown(tmp_path, content):
    file = tmp_path / "operator.key"
    file.write_bytes(content)
    with pytest.raises(BadConfiguration, match=r"operator\.key") as refused:
        ApiKey.load("operator", file)
    assert "not hex" not in str(refused.value)
