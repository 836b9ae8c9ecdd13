"""``fsm-saga serve`` sends spans to whatever provider its process has set up."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from tests.support.serving import TIMEOUT_S, open_site

# A module of tools is loaded before anything is traced: a place to set OpenTelemetry up in.
SET_UP = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

_spans = open(PLACE / "spans.jsonl", "a", encoding="utf-8", buffering=1)
_exporter = ConsoleSpanExporter(out=_spans, formatter=lambda s: s.to_json(indent=None) + "\\n")
_provider = TracerProvider()
_provider.add_span_processor(SimpleSpanProcessor(_exporter))
trace.set_tracer_provider(_provider)
"""


def test_a_saga_and_its_calls_come_out_as_spans_of_one_trace(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        tools = tmp_path / "tools.py"
        tools.write_text(tools.read_text(encoding="utf-8") + SET_UP, encoding="utf-8")
        serving = site.serve()
        serving.wait_for("leads")
        done = site.type("run", site.plan("a"), "--json")
        serving.process.send_signal(signal.SIGTERM)
        serving.process.wait(TIMEOUT_S)
    lines = (tmp_path / "spans.jsonl").read_text(encoding="utf-8").splitlines()
    spans: list[dict[str, Any]] = [json.loads(line) for line in lines]

    assert done[0] == 0, done
    assert {span["attributes"]["fsm_saga.saga_id"] for span in spans} == {"trip"}
    assert len({span["context"]["trace_id"] for span in spans}) == 1
    assert "saga DONE" in {span["name"] for span in spans}
    assert len(spans) == 2
