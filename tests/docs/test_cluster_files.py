"""The files for a cluster of one's own name options, figures and paths that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fsm_saga.cli.ages import age_s
from fsm_saga.cli.app import COMMANDS
from fsm_saga.cli.commands import load_command
from fsm_saga.cli.serve import STOP_S
from fsm_saga.cluster.metrics import Metrics
from fsm_saga.cluster.node import Node
from fsm_saga.stores.etcd_url import parse_etcd_url
from tests.support.plain_yaml import PlainYamlError, plain_yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "cluster"
COMPOSE = plain_yaml((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
ALERTS = plain_yaml((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))
UNIT = (FOLDER / "fsm-saga.service").read_text(encoding="utf-8")
CONTAINERFILE = (FOLDER / "Containerfile").read_text(encoding="utf-8")
GUIDE = (FOLDER / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")

RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
COORDINATORS = {n: s for n, s in COMPOSE["services"].items() if n.startswith("coordinator")}
SECONDS = re.compile(r"(\d+)s?")


def serve() -> Any:
    (listed,) = (each for each in COMMANDS if each.name == "serve")
    return load_command(listed)


def parsed(words: list[str]) -> dict[str, Any]:
    """Return what the command line understands, which refuses what it does not know."""
    command = serve()
    with command.make_context("serve", list(words)) as context:
        return dict(context.params)


def check_serves(words: list[str]) -> dict[str, Any]:
    assert words[0] == "serve", words
    said = parsed(words[1:])
    assert age_s(said["archive_after"], option="") >= 60
    assert said["archive"] is not None
    assert said["listen"]
    return said


# The options.


def test_every_coordinator_of_the_compose_file_is_understood() -> None:
    said = {name: check_serves(service["command"]) for name, service in COORDINATORS.items()}

    assert len(said) == 3
    assert {name: each["name"] for name, each in said.items()} == {n: n for n in said}
    assert len({each["shards"] for each in said.values()}) == 1


def test_the_unit_starts_what_is_understood() -> None:
    (line,) = re.findall(r"^ExecStart=/opt/fsm-saga/bin/fsm-saga (.*)$", UNIT, re.MULTILINE)

    check_serves(line.split())


def test_the_image_starts_what_is_understood() -> None:
    entry, command = (
        json.loads(re.findall(rf"^{what} (\[.*\])$", CONTAINERFILE, re.MULTILINE)[0])
        for what in ("ENTRYPOINT", "CMD")
    )

    assert entry == ["fsm-saga"]
    assert parsed(command[1:])["listen"] == "0.0.0.0:9090"


@pytest.mark.parametrize("text", [GUIDE, UNIT, PAGE], ids=["README", "unit", "docs/cluster.md"])
def test_every_variable_that_is_named_is_read(text: str) -> None:
    known = {param.envvar for param in serve().params if param.envvar} | {
        "FSM_SAGA_TOOLS",
        "FSM_SAGA_ETCD_PASSWORD",
        "FSM_SAGA_REDIS_PASSWORD",
        "FSM_SAGA_DEBUG",
    }

    assert set(re.findall(r"FSM_SAGA_[A-Z_]+", text)) <= known


# The store, the stop, the names.


def test_the_coordinators_and_the_members_of_etcd_find_each_other() -> None:
    services = COMPOSE["services"]
    members = sorted(services.keys() - COORDINATORS.keys())
    environment = COMPOSE["x-coordinator"]["environment"]

    assert len(members) == 3
    asked = parse_etcd_url(environment["FSM_SAGA_STORE"])
    assert sorted(asked.endpoints) == [f"{member}:2379" for member in members]
    cluster = ",".join(f"{member}=http://{member}:2380" for member in members)
    for member in members:
        options = dict(word[2:].split("=", 1) for word in services[member]["command"][1:])
        assert options["name"] == member
        assert options["initial-cluster"] == cluster
        assert options["advertise-client-urls"] == f"http://{member}:2379"
        assert options["initial-advertise-peer-urls"] == f"http://{member}:2380"
        assert services[member]["volumes"] == [f"{member}:{options['data-dir']}"]
    for service in services.values():
        assert {volume.partition(":")[0] for volume in service["volumes"]} <= set(
            COMPOSE["volumes"]
        )


def test_what_the_image_copies_is_there() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", CONTAINERFILE, re.MULTILINE)

    assert copied
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name
    dockerfile = COMPOSE["x-coordinator"]["build"]["dockerfile"]
    assert (ROOT / dockerfile).is_file()


def test_a_stop_leaves_time_to_hand_over() -> None:
    (unit_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)
    compose_s = SECONDS.fullmatch(COMPOSE["x-coordinator"]["stop_grace_period"])

    assert compose_s is not None
    assert min(int(unit_s), int(compose_s[1])) >= 2 * STOP_S
    for line in ("Restart=always", "KillSignal=SIGTERM", "NoNewPrivileges=yes"):
        assert line in UNIT.splitlines()


def test_no_image_names_a_registry() -> None:
    images = [service["image"] for service in COMPOSE["services"].values()]
    images += re.findall(r"^FROM (\S+)", CONTAINERFILE, re.MULTILINE)

    assert images
    assert [image for image in images if "/" in image] == []


# The figures.


def figures() -> set[str]:
    """Return the name of every figure that a coordinator shows, as Prometheus sees it."""
    metrics = Metrics()
    seat = SimpleNamespace(lease_left_s=1.0)
    node = SimpleNamespace(led={}, has_seat=True, obstacles=(), seat=seat)
    metrics.watch(cast(Node, node), shards=1)
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
    return {
        family.name + ending
        for family in metrics.registry.collect()
        for ending in endings.get(family.type, ("",))
    }


def test_every_alert_looks_at_figures_that_there_are() -> None:
    known = figures() | {"up"}

    assert len(RULES) >= 10
    for rule in RULES:
        named = set(re.findall(r"\b(?:fsm_saga_\w+|up)\b", rule["expr"]))
        assert named, rule
        assert named <= known, rule


def test_every_label_that_an_alert_asks_for_is_there() -> None:
    labels = {"job", "instance", "le", "tool", "direction", "result", "state", "outcome", "reason"}

    for rule in RULES:
        asked = re.findall(r"by \(([^)]*)\)|\{(\w+)=", rule["expr"])
        names = {name for groups in asked for part in groups for name in part.split(", ") if name}
        assert names <= labels, rule


def test_an_alert_says_what_is_the_case_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert re.fullmatch(r"\d+[sm]", rule.get("for", "0s"))


# The reader.


@pytest.mark.parametrize(
    "text",
    [
        "a: b: c",
        "a: b\n   c: d",
        "a: 1\na: 2",
        "a: {b: c}",
        "a: [b",
        "a: |",
        "\ta: b",
        "a: b ",
        "- a\nb: c",
        "a:\n  - b\n c: d",
        "a: 'b'",
        "a: b # c",
    ],
)
def test_what_is_no_plain_yaml_is_refused(text: str) -> None:
    with pytest.raises(PlainYamlError):
        plain_yaml(text)
