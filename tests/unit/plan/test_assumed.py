from __future__ import annotations

from fsm_saga.core.contract import ToolFacts
from fsm_saga.plan.assumed import AssumedTools


def test_every_tool_is_there_with_its_own_name_and_none_is_listed() -> None:
    tools = AssumedTools()
    assert tools["pay"] == ToolFacts(name="pay")
    assert tools.get("cancel") == ToolFacts(name="cancel")
    assert (list(tools), len(tools)) == ([], 0)
