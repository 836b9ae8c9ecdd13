"""All doors, by name."""

from __future__ import annotations

from tests.fuzz.asked import Answers, StoreUrls, Words
from tests.fuzz.outputs import ToolOutputs
from tests.fuzz.plans import LateCalls, PlanMappings, PlanTexts
from tests.fuzz.stored import StoredJournals, StoredRecords
from tests.fuzz.submitted import Submissions
from tests.fuzz.target import Target

TARGETS: dict[str, type[Target]] = {
    target.name: target
    for target in (
        PlanTexts,
        PlanMappings,
        Submissions,
        LateCalls,
        ToolOutputs,
        StoredRecords,
        StoredJournals,
        Answers,
        StoreUrls,
        Words,
    )
}
