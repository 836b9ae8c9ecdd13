"""The figures of docs/evidence.md, in the order of the page.

To add one: let a command print one JSON object on stdout, write a `Figure` here, and run it with
`python -m tests.evidence NAME`. See CONTRIBUTING, "Evidence".
"""

from __future__ import annotations

from tests.evidence.fault_figures import FAULT_FIGURES
from tests.evidence.figure import Figure, Table

FIGURES: tuple[Figure, ...] = (
    *FAULT_FIGURES,
    Figure(
        name="fuzz-plans",
        title="A million mutated plans",
        command="python -m tests.fuzz --target plans --cases 1000000 --json",
        shows=(
            "Each plan has to be refused with coded, placed, printable reasons, or accepted; what "
            "is accepted has to be sound by a second, naive opinion, to have one canonical text "
            "and hash, to compile, and to come back from a store and from a journal. A sample is "
            "drawn as DOT, Mermaid and text, and nothing may leave its label."
        ),
        leaves_out=(
            "Mutation starts from sound plans: what is far from every one of them is rare.",
            "Memory is traced for one case in 997, and for one in five of those above 16 KiB.",
        ),
        rows={
            "plans": "cases",
            "failed": "failed_cases",
            "refused with reasons": "targets.plans.counts.refused",
            "accepted": "targets.plans.counts.accepted",
            "kinds of problem that came up": "targets.plans.codes",
            "accepted and drawn": "targets.plans.counts.drawn",
            "slower than 1 s of processor time": "targets.plans.counts.slower than 1 s",
            "slowest, ms of processor time": "targets.plans.most.cpu_ms",
            "most memory of a traced case, MiB": "targets.plans.most.traced_mib",
            "largest worker, MiB resident": "targets.plans.most.worker_rss_mib",
            "plans per second": "targets.plans.cases_per_s",
            "seed": "seed",
        },
    ),
    Figure(
        name="fuzz",
        title="Bad input at every door",
        command="python -m tests.fuzz --cases 100000 --json",
        shows=(
            "Mutated plans, Python mappings, late calls, tool outputs, stored records, journals, "
            "answers of people, store URLs and command lines: nothing but the deliberate refusals "
            "may come out, and what is refused may change nothing."
        ),
        leaves_out=(
            "The web has no door yet.",
            "A mapping whose own methods raise is its caller's code; what it raises goes through.",
        ),
        rows={"cases": "cases", "failed": "failed_cases", "seed": "seed"},
        tables=(
            Table(
                at="targets",
                key="door",
                columns={"what": "about", "cases": "cases", "failed": "failed_cases"},
            ),
        ),
    ),
    Figure(
        name="bad-input",
        title="The list of bad input, case by case",
        command="python -m tests.corpus",
        shows=(
            "Each kind of bad input on our list, and the test or the case of the corpus that holds "
            "it, or why it does not apply yet. The numbers are those of the list."
        ),
        rows={
            "kinds on the list": "kinds",
            "held by a test": "held",
            "not applicable yet": "waiting",
            "plans in the corpus": "plans",
            "texts of JSON parsers": "json_texts",
        },
        tables=(
            Table(
                at="list",
                columns={"no.": "number", "what": "what", "held by, or why not yet": "held_by"},
            ),
        ),
    ),
    Figure(
        name="bench",
        title="Speed",
        command="fsm-saga bench --quick --json",
        shows=(
            "The engine beside the bare store, on the disk of the checkout, in one run: the ratios "
            "hold although other programs may run. The workload is three steps that succeed."
        ),
        leaves_out=("Tools answer at once; the network and their own work come on top.",),
        rows={
            "sagas per second, 128 in flight": "sqlite.w1.128.sagas_per_s.median",
            "of what the bare store reaches": "sqlite.w1.128.share_of_bare.median",
            "one saga alone, median ms": "sqlite.w1.1.p50_ms.median",
            "times the bare store's commits": "sqlite.w1.1.times_of_bare.median",
            "fsync of the disk, median ms": "disk.fsync_ms.median",
            "sagas per second in memory, 32 in flight": "memory.w1.32.sagas_per_s.median",
            "one decision with its records, median us": "decide.turn_us.median",
            "a new plan of 10 steps, compiled, median ms": "compile.10.new_ms.median",
            "memory of a resting saga, KiB": "resting.retry.1000.kib_per_saga.median",
        },
    ),
    Figure(
        name="bench-etcd",
        title="Speed of a cluster on etcd",
        command="python -m tests.evidence.server_bench --quick",
        shows=(
            "The engine beside the bare etcd, one member on the same machine, in one run: bare are "
            "the same appends as transactions, nested by 64 and two on their way. Then three "
            "coordinators that share the store beside one, a coordinator at rest, and the time "
            "until the other leads every shard when one of two is killed, or told to stop."
        ),
        leaves_out=(
            "Coordinators, etcd and what measures them share the cores of one machine.",
            "Between machines the network comes on top.",
        ),
        rows={
            "sagas per second, 128 in flight": "server.w1.128.sagas_per_s.median",
            "of what the bare etcd reaches": "server.w1.128.share_of_bare.median",
            "one saga alone, median ms": "server.w1.1.p50_ms.median",
            "times the bare transactions": "server.w1.1.times_of_bare.median",
            "appends per second of the bare etcd": "bare.w1.128.appends_per_s.median",
            "sagas that are undone, per second, 128 in flight": "server.w2.128.sagas_per_s.median",
            "three coordinators, times one": "coordinators.3.times_of_1.median",
            "a coordinator at rest, per cent of a core": "failover.cpu_percent_idle.median",
            "after kill -9, seconds until all is led": "failover.crash_s.median",
            "the longest of these": "failover.crash_s.max",
            "of which the lease, seconds": "failover.lease_s.median",
            "after SIGTERM, seconds until all is led": "failover.stop_s.median",
        },
    ),
    Figure(
        name="mutants",
        title="A changed line is noticed",
        command="python -m tests.mutants",
        shows=(
            "mutmut changes the code of the core, of what a tool's error means, and of what of it "
            "is shown: one small change at a time, as a slip would. A mutant is killed if a unit "
            "test of these modules or a story fails. What survives is listed with the reason in "
            "tests/mutants/survivors, or stands here as unlisted."
        ),
        leaves_out=(
            "Only code inside functions is changed: tables and patterns at the top of a module "
            "are not, and neither are the bodies of classes.",
            "The slower tests are not asked: properties, the model checker, the simulation.",
            "Lines that are only a sentence are not changed, and no store that needs a server.",
        ),
        rows={
            "mutants": "mutants",
            "killed": "killed",
            "killed, per cent of those run": "killed_percent",
            "survived, and listed with the reason": "listed",
            "survived, not listed": "unlisted",
            "of these in guards, ids, redaction and classification": "strict_unlisted",
            "not run": "not_run",
        },
        tables=(
            Table(
                at="modules",
                key="module",
                columns={
                    "mutants": "mutants",
                    "killed": "killed",
                    "listed": "listed",
                    "unlisted": "unlisted",
                    "not run": "not_run",
                },
            ),
            Table(
                at="survivors",
                columns={
                    "function": "function",
                    "is": "was",
                    "became": "becomes",
                    "why it may live": "reason",
                },
            ),
        ),
    ),
)


def figure_named(name: str) -> Figure | None:
    """Return the figure of this name, or None."""
    return next((figure for figure in FIGURES if figure.name == name), None)
