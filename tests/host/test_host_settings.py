from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox.functions.settings import AppSettings, HostConfig, SettingsError

ROOT = Path(__file__).parents[2]


def read(tmp_path: Path, **content: Any) -> HostConfig:
    path = tmp_path / "host.json"
    path.write_text(json.dumps({"version": "2.0", **content}))
    return HostConfig.read(path)


def test_the_defaults_are_those_of_the_platform(tmp_path: Path) -> None:
    config = read(tmp_path)
    assert config.function_timeout == timedelta(minutes=30)
    assert config.http.route_prefix == "api"
    assert (config.queues.batch_size, config.queues.new_batch_threshold) == (16, 8)
    assert config.queues.max_polling_interval == timedelta(minutes=1)
    assert config.queues.max_dequeue_count == 5
    assert config.queues.base64


def test_the_apps_own_host_json_polls_fast_and_never_sheds() -> None:
    config = HostConfig.read(ROOT / "host.json")
    assert config.queues.max_polling_interval == timedelta(milliseconds=250)
    assert config.http.max_outstanding is None
    assert config.http.max_concurrent is None
    assert config.function_timeout == timedelta(minutes=10)


def test_no_timeout_is_written_as_minus_one(tmp_path: Path) -> None:
    assert read(tmp_path, functionTimeout="-1").function_timeout is None


def test_a_time_span_may_have_days_and_ticks(tmp_path: Path) -> None:
    assert read(tmp_path, functionTimeout="1.02:03:04.5000000").function_timeout == timedelta(
        days=1, hours=2, minutes=3, seconds=4.5
    )


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"extensions": {"queues": {"maxPollingIntervall": "00:00:02"}}}, "maxPollingIntervall"),
        ({"extensions": {"serviceBus": {"prefetchCount": 1}}}, "serviceBus.prefetchCount"),
        ({"queues": {"batchSize": 1}}, "queues.batchSize"),
        ({"extensions": {"queues": {"batchSize": 33}}}, "batchSize"),
        ({"extensions": {"queues": {"batchSize": True}}}, "batchSize"),
        ({"extensions": {"queues": {"maxPollingInterval": "00:00:00.05"}}}, "maxPollingInterval"),
        ({"extensions": {"queues": {"visibilityTimeout": "30 s"}}}, "visibilityTimeout"),
        ({"extensions": {"queues": {"messageEncoding": "utf8"}}}, "messageEncoding"),
        ({"extensions": {"http": {"dynamicThrottlesEnabled": True}}}, "dynamicThrottlesEnabled"),
        ({"extensions": {"http": {"hsts": {"isEnabled": True}}}}, "hsts"),
        ({"concurrency": {"dynamicConcurrencyEnabled": True}}, "dynamicConcurrencyEnabled"),
        ({"logging": {"logLevel": {"default": "Verbose"}}}, "logLevel.default"),
        ({"version": "1.0"}, "version"),
    ],
)
def test_unknown_keys_and_wrong_values_are_named(tmp_path: Path, content: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named.replace(".", r"\.")):
        read(tmp_path, **content)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="missing"):
        HostConfig.read(tmp_path / "host.json")
    (tmp_path / "host.json").write_text("{")
    with pytest.raises(SettingsError, match="not JSON"):
        HostConfig.read(tmp_path / "host.json")


def test_names_in_percent_signs_are_settings() -> None:
    settings = AppSettings({"QUEUE": "wake", "STAGE": "test"})
    assert settings.resolve("%QUEUE%-%STAGE%", "here") == "wake-test"
    assert settings.resolve("plain", "here") == "plain"
    with pytest.raises(SettingsError, match=r"function 'f'.*MISSING"):
        settings.resolve("%MISSING%", "function 'f'")


def test_a_connection_is_a_setting_with_or_without_the_platforms_prefix() -> None:
    settings = AppSettings({"AzureWebJobsStorage": "a", "Other": "b", "AzureWebJobsThird": "c", "Third": "d"})
    assert settings.connection("AzureWebJobsStorage", "f") == "a"
    assert settings.connection("Storage", "f") == "a"
    assert settings.connection("Other", "f") == "b"
    assert settings.connection("Third", "f") == "c"
    with pytest.raises(SettingsError, match="Missing"):
        settings.connection("Missing", "f")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"Values": {"A": 1}}, "string"),
        ({"IsEncrypted": True, "Values": {}}, "encrypted"),
        ({"Value": {}}, "Value"),
    ],
)
def test_a_settings_file_is_checked(tmp_path: Path, content: dict[str, Any], said: str) -> None:
    path = tmp_path / "local.settings.json"
    path.write_text(json.dumps(content))
    with pytest.raises(SettingsError, match=said):
        AppSettings.read(path)


def test_the_sample_settings_can_be_read() -> None:
    assert AppSettings.read(ROOT / "local.settings.sample.json").values["FUNCTIONS_WORKER_RUNTIME"] == "python"
