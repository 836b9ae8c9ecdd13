"""Nothing is said by colour alone, and everything can be read."""

from __future__ import annotations

import pytest

from fsm_saga.core.states import StepStatus
from fsm_saga.drawing import theme
from fsm_saga.drawing.picture import ClusterRole, EdgeRole, NodeRole

TEXT_CONTRAST = 4.5
LINE_CONTRAST = 3.0
STEP_ROLES = [NodeRole(status.lower().replace("_", "-")) for status in StepStatus]


def luminance(colour: str) -> float:
    def linear(channel: int) -> float:
        value = channel / 255
        return value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_every_role_has_a_look() -> None:
    assert set(theme.NODE_LOOKS) == set(NodeRole)
    assert set(theme.EDGE_STROKES) == set(EdgeRole)
    assert set(theme.CLUSTER_AREAS) == set(ClusterRole)


@pytest.mark.parametrize("role", [r for r in NodeRole if r is not NodeRole.START])
def test_the_text_of_a_node_stands_out(role: NodeRole) -> None:
    look = theme.NODE_LOOKS[role]
    assert contrast(look.text, look.fill) >= TEXT_CONTRAST


@pytest.mark.parametrize(
    "role", [r for r in NodeRole if r not in {NodeRole.HEADING, NodeRole.NOTE}]
)
def test_the_border_of_a_node_stands_out(role: NodeRole) -> None:
    look = theme.NODE_LOOKS[role]
    assert contrast(look.line, look.fill) >= LINE_CONTRAST or role is NodeRole.START
    assert contrast(look.line, theme.PAPER) >= LINE_CONTRAST


@pytest.mark.parametrize("role", EdgeRole)
@pytest.mark.parametrize("ground", [theme.PAPER, *(a.fill for a in theme.CLUSTER_AREAS.values())])
def test_an_edge_and_its_label_stand_out_on_every_ground(role: EdgeRole, ground: str) -> None:
    stroke = theme.EDGE_STROKES[role]
    assert contrast(stroke.text, ground) >= TEXT_CONTRAST
    assert contrast(stroke.line, ground) >= LINE_CONTRAST


@pytest.mark.parametrize("role", ClusterRole)
def test_the_title_of_an_area_stands_out(role: ClusterRole) -> None:
    area = theme.CLUSTER_AREAS[role]
    assert contrast(area.text, area.fill) >= TEXT_CONTRAST


def test_statuses_differ_without_any_colour() -> None:
    """Symbol, border, weight and rings: what a photocopy shows, apart from the word itself."""
    looks = [theme.NODE_LOOKS[role] for role in STEP_ROLES]
    seen = {(look.symbol, look.border, look.width, look.rings) for look in looks}
    assert len(seen) == len(STEP_ROLES)
    assert all(look.symbol for look in looks)


def test_the_way_back_is_never_a_solid_line() -> None:
    back = [EdgeRole.UNDO, EdgeRole.UNDO_TAKEN, EdgeRole.SEMANTIC, EdgeRole.BACK]
    assert all(theme.EDGE_STROKES[role].dash != "solid" for role in back)
    assert theme.EDGE_STROKES[EdgeRole.UNDO].dash != theme.EDGE_STROKES[EdgeRole.SEMANTIC].dash
