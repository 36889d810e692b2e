"""Prometheus and Grafana in containers: the files are what those programs read, for loopback only.

`data/compose_spec.json` is the schema of the Compose specification, as docker-compose 1.29.2 had it
(Apache License 2.0).
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from project import ROOT, TESTS

from mlx_probe.core.units import parse_duration

FOLDER = ROOT / "configs" / "monitoring"


class Strict(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML takes the last."""


def unique(loader, node, deep=False):
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    assert len(set(keys)) == len(keys), keys
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, unique)


def read(name):
    return yaml.load((FOLDER / name).read_text("utf-8"), Strict)


@pytest.fixture(scope="module")
def compose():
    return read("compose.yaml")


def test_the_compose_file_follows_the_specification(compose):
    schema = json.loads((TESTS / "data" / "compose_spec.json").read_text("utf-8"))
    validator = jsonschema.Draft201909Validator(schema)
    validator.validate(compose)
    # The schema is one that refuses.
    for wrong in ({"services": {"a": {"imagee": "x"}}}, {"services": {"a": {"ports": "1"}}}):
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(wrong)


def test_only_this_machine_reaches_them(compose):
    for name, service in compose["services"].items():
        for port in service["ports"]:
            assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), name
        assert "privileged" not in service
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_images_are_those_of_one_version(compose):
    for service in compose["services"].values():
        assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"])


def test_what_is_mounted_is_there_and_stays_as_it_is(compose):
    mounted = set()
    for service in compose["services"].values():
        for volume in service["volumes"]:
            source, target, *mode = volume.split(":")
            assert target.startswith("/")
            if source.startswith("."):
                assert mode == ["ro"]
                assert (FOLDER / source).is_file(), source
                mounted.add((FOLDER / source).resolve())
            else:
                assert source in compose["volumes"]
        for other in service.get("depends_on", ()):
            assert other in compose["services"]
    ours = set(FOLDER.rglob("*.yml"))
    assert mounted == {*ours, ROOT / "configs" / "grafana-dashboard.json"}


def test_what_prometheus_asks():
    config = read("prometheus.yml")
    assert set(config) == {"global", "scrape_configs"}
    times = {name: parse_duration(text) for name, text in config["global"].items()}
    assert set(times) == {"scrape_interval", "scrape_timeout"}
    assert 0 < times["scrape_timeout"] <= times["scrape_interval"]
    names = [job["job_name"] for job in config["scrape_configs"]]
    assert len(set(names)) == len(names) == 2
    for job in config["scrape_configs"]:
        assert set(job) == {"job_name", "static_configs"}
        for targets in job["static_configs"]:
            assert set(targets) == {"targets"}
            for target in targets["targets"]:
                # From a container, 127.0.0.1 is the container.
                assert re.fullmatch(r"host\.docker\.internal:\d{2,5}", target)


def test_grafana_finds_prometheus_and_the_dashboard(compose):
    [source] = read("grafana/datasources.yml")["datasources"]
    host, port = re.fullmatch(r"http://([a-z]+):(\d+)", source["url"]).groups()
    assert compose["services"][host]["ports"] == [f"127.0.0.1:{port}:{port}"]
    [provider] = read("grafana/dashboards.yml")["providers"]
    shown = [v.split(":")[1] for v in compose["services"]["grafana"]["volumes"]]
    dashboard = Path(provider["options"]["path"], "grafana-dashboard.json")
    assert str(dashboard) in shown
    environment = compose["services"]["grafana"]["environment"]
    assert environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == str(dashboard)
    # Quoted: YAML's own true is no value of a variable.
    assert all(isinstance(value, str) for value in environment.values())
    # The dashboard asks for a data source of this type.
    content = json.loads((ROOT / "configs" / "grafana-dashboard.json").read_text("utf-8"))
    assert content["templating"]["list"][0]["query"] == source["type"]


def has_compose():
    if shutil.which("docker") is None:
        return False
    command = ["docker", "compose", "version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_compose(), reason="no `docker compose` here")
def test_docker_compose_understands_it():
    command = ["docker", "compose", "-f", FOLDER / "compose.yaml", "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
