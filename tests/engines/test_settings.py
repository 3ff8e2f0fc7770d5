"""Settings of an engine: what wins, what is refused, and that no secret is shown."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from fastilp.engines.settings import EngineSettings, load
from fastilp.errors import ConfigError


class Own(EngineSettings):
    secret: SecretStr
    unit: int = 1


def test_flags_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "engine.toml"
    path.write_text('secret = "s"\nunit = 2\ndata_dir = "data"\nlog_level = "debug"\n')
    monkeypatch.setenv("FASTILP_ENGINE_UNIT", "3")
    monkeypatch.setenv("FASTILP_ENGINE_LOG_LEVEL", "error")
    found = load(Own, path, {"unit": "4", "log_level": None})
    assert (found.unit, found.log_level, found.secret.get_secret_value()) == (4, "error", "s")
    assert found.data_dir == str(tmp_path / "data")


WRONG = [
    ("secret = 1", {}, "secret"),
    ("unit = 2", {}, "secret.* is missing; give it in a file or as FASTILP_ENGINE_SECRET"),
    ('secret = "s"\nunitt = 2', {}, "unitt.*is not a setting"),
    ('secret = "s"', {"unit": "many"}, "flags.*unit"),
    ('secret = "s"', {"connector_url": "localhost"}, "must begin with http"),
    ('secret = "s"', {"settlement_api_bind_address": "3000"}, "must be host:port"),
    ('secret = "s', {}, "is not TOML"),
]


@pytest.mark.parametrize(("text", "flags", "words"), WRONG)
def test_what_is_wrong_is_named(
    tmp_path: Path, text: str, flags: dict[str, str], words: str
) -> None:
    path = tmp_path / "engine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as error:
        load(Own, path, flags)
    assert '"s"' not in str(error.value)


def test_a_variable_that_is_misspelled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTILP_ENGINE_UNITT", "3")
    with pytest.raises(ConfigError, match="FASTILP_ENGINE_UNITT is no setting"):
        load(Own, None, {"secret": "s"})


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(Own, tmp_path / "none.toml", {})
