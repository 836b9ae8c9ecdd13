"""What the mutators put in: field names, texts, numbers and references that go wrong elsewhere."""

from __future__ import annotations

from typing import Any

from tests.fuzz.tree import Pairs, Raw

PLAN_FIELDS = (
    "task_id", "goal", "inputs", "steps", "deadline_s", "step_id", "name", "tool", "params",
    "rollback", "depends_on", "kind", "retry", "timeout_s", "approval", "semantic", "attempts",
    "delay_s", "delay_s_max", "expires_s",
)  # fmt: skip

# What a plan must never say of the engine, and names that mean something to a runtime.
PRIVILEGED = (
    "req_id", "epoch", "leader", "state", "approved_by", "is_open", "undo_of", "undoes", "run_key",
    "plan_hash", "saga_id", "outcome", "position", "type", "v", "contracts", "sudo", "token",
    "__proto__", "constructor", "prototype", "__class__", "__dict__", "__init__", "$schema",
    "$ref",
)  # fmt: skip

ODD_TEXTS = (
    "", " ", "\t", "\n", "\r\n", "\0", "a\0b", "\x1b[2J", "\x1b]52;c;aGk=\x07", "\x9b31m", "\x7f",
    "\ud800", "a\udc00b", "\udc00\ud800", "\U0001f600", "é", "e\u0301", "ﬁ", "ｔｏｏｌ", "İ", "ı",
    "\u202e8$", "\u2066x", "\u200b", "\ufeff", "\u2028", "\u2029", "\uffff", "\ufdd0",
    "Z" + "\u0335" * 60, "x" * 65, "x" * 129, "../../etc/passwd", "..\\..", "/", "a/b", "~1",
    "~0", "C:", "nul", ".",
    "..", "<script>alert(1)</script>", "</script>", '"]; A-->B', "%%{init: {}}%%", "\\N\\G",
    "<<b>x</b>>", "{{7*7}}", "${7*7}", "$(id)", "`id`", "'; drop table sagas; --", "%s%n",
    "{0.__class__}",
    "javascript:alert(1)", "file:///etc/passwd", "http://169.254.169.254/", "gopher://x",
    "data:,x",
    "input", "output", "leader", "null", "true", "NaN", "0", "-1", "1e999", "step_", "step_1", "1",
    "预订", "احجز", "\u0661",
)  # fmt: skip

ODD_NUMBERS: tuple[Any, ...] = (
    0, -0.0, -1, 1, 2, 0.5, 1e-9, 1e308, -1e308, 5e-324, 2**31, 2**53 + 1, 2**63 - 1, -(2**63),
    2**63, 2**64, 10**30, 86_400, 86_401, 31_536_001, 101, 1e18, Raw("NaN"), Raw("-Infinity"),
    Raw("1e999"), Raw("-0"), Raw("1E400"), Raw("0x10"), Raw("01"), Raw("+1"), Raw(".5"), Raw("1."),
    Raw("1_000"), Raw("9" * 400), Raw("9" * 5000), Raw("1." + "3" * 3000), Raw("1e-99999"),
    Raw("--1"), Raw("٣"), Raw("1e"), Raw("0.1e+"),
)  # fmt: skip

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, [], Pairs(), [[]], [None], Pairs([["", None]]), Raw("undefined"),
    Raw("None"), Raw("'x'"), Raw("“x”"), Raw("x"), Raw(""), Raw('"\\x41"'), Raw('"\\u12"'),
    Raw('"\\ud800"'),
    Raw('"\\udc00\\ud800"'), Raw('"a\nb"'), Raw("// x\n1"), Raw("/* x */ 1"), Raw("/*"),
    Raw("{,}"),
    Raw("[1,]"), Raw('{"a" 1}'), Raw("{1: 2}"), Raw("[1 2]"), Raw('"'), Raw("]"), Raw("}"),
)  # fmt: skip

TOOL_NAMES = (
    "search_flights", "anything", "broken", "charge", "refund", "fax", "wire", "wire_declared",
    "wire_with_check", "telex", "rent_car", "pay_fee", "reserve", "send_email", "cancel_flight",
)  # fmt: skip

KINDS = ("compensatable", "read_only", "pivot", "retriable", "PIVOT", "irrevocable", "")

REFERENCE_FORMS = (
    "$output.step_{id}", "$output.step_{id}.id", "$output.step_{id}.flights.0.id",
    "$output.step_{id}.booking_id", "$output.step_{id}.price", "$output.step_{id}.0",
    "$output.step_{id}.-1", "$output.step_{id}.00", "$output.step_{id}.999999999999",
    "$output.step_{id}.__class__", "$output.step_{id}.keys", "$output.step_{id}.a.b.c.d",
    "$output.step_{id}.", "$output.step_{id}..x", "$output.{id}.x", "$output.step_.x", "$output",
    "$output.", "$output..x", "$$output.step_{id}", "$Output.step_{id}", " $output.step_{id}",
    "$output.step_{id}.x ", "$output.step_{id}\n", "see $output.step_{id}.x",
    "${{output.step_{id}.x}}", "$output.step_{id}[0]", "$output.step_{id}.x()",
    "$output.step_{id}.price*2",
    "$output.step_99.x", "$input.{id}", "$input.who", "$input", "$input.", "$input.who.x",
    "$env.HOME", "$secret.X",
    "$file:/etc/passwd", "$5.00", "$ 5", "$", "$_", "$output.step_{id}.é",
    "$output.step_e\u0301.x",
    "$output.step_{id}.\u200bx", "$output.step_{id}.\ud800", "$output.step_step_{id}.id",
    "$ｏutput.x",
)  # fmt: skip
