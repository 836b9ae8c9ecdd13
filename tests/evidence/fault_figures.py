"""The figures about faults: what was made to go wrong, how often, and what came of it."""

from __future__ import annotations

from tests.evidence.figure import Figure, Table

_PERSON = "A person who vouches for something is believed."

FAULT_FIGURES: tuple[Figure, ...] = (
    Figure(
        name="simulation",
        title="Simulated faults, one seed at a time",
        command="python -m fsm_saga.simulation --seeds 20000 --json",
        shows=(
            "The real engine on virtual time, with one to three coordinators, and all that "
            "[docs/simulation.md](simulation.md) lists going wrong. Each seed is judged by the "
            "tools' ledgers after the last late message has come. What has to happen sometimes is "
            "counted; one that never did fails the run. The rate is that of this machine, with "
            "the load named below."
        ),
        leaves_out=(
            "Disks, processes and SQLite are played; the real ones are in the figures below.",
            "A lease is given by the played store, not by a cluster.",
            "Clocks of one run differ by a fixed skew and by jumps; none runs faster than others.",
            "Tools keep what they declare, and do the worst where they declare nothing.",
        ),
        rows={
            "seeds": "seeds",
            "failed": "failed",
            "faults that happened": "faults",
            "kinds of fault": "kinds_of_fault",
            "virtual hours": "virtual_hours",
            "things that must happen sometimes": "sometimes",
            "of these, that never did": "sometimes_never",
            "seeds per minute": "seeds_per_minute",
            "processes": "jobs",
            "digest of all traces": "traces",
        },
        tables=(
            Table(at="rarest", columns={"rarest of what must happen": "what", "times": "times"}),
        ),
    ),
    Figure(
        name="zoo",
        title="Planted bugs, each caught",
        command="python -m tests.evidence.zoo",
        shows=(
            "A check that finds nothing proves nothing until it has been seen to find something. "
            "Each bug is planted alone in the engine, the store or a tool, and seeds are run from "
            "0 on until a check that is there for it notices. All of them, with how often each is "
            "noticed, are in [docs/simulation-zoo.md](simulation-zoo.md). The search of every "
            "history, the crash points and the truth table have planted bugs of their own, in "
            "their tests."
        ),
        leaves_out=(
            "The bugs are those that we thought of; pairs of bugs that hide each other are few.",
        ),
        rows={
            "bugs planted": "planted",
            "caught": "caught",
            "in the engine": "where.engine",
            "in the store": "where.store",
            "in tools": "where.tools",
            "seeds needed, median": "seeds_median",
            "seeds needed, at worst": "seeds_most",
            "caught by the first seed": "caught_by_the_first_seed",
            "caught within 100 seeds": "caught_within_100_seeds",
        },
        tables=(
            Table(
                at="hardest",
                columns={"hardest to catch": "bug", "caught by": "check", "seeds": "seeds"},
            ),
            Table(at="checks", key="check", columns={"bugs it caught first": ""}),
        ),
    ),
    Figure(
        name="truth-table",
        title="The late action after its undo, to the last state",
        command="python -m tests.truthtable --json",
        shows=(
            "One step whose call is in doubt, under every rule for doubt, with every kind of tool. "
            "Safe rows were searched to their last state; an unsafe one has its shortest way to "
            "the damage in [docs/truth-table.md](truth-table.md). The second table is what the "
            "compiler chooses when such a tool is declared truthfully."
        ),
        leaves_out=(
            "One step; at most two sends of a call and one more copy of each by the network.",
            "Rows Q and G believe in clocks that agree.",
            _PERSON,
        ),
        rows={
            "rows": "rows",
            "safe": "safe",
            "unsafe, as listed": "unsafe",
            "not as listed": "not_as_listed",
            "states of the safe rows": "states_of_safe_rows",
            "states in all": "states",
            "events of the longest way to a damage": "longest_shortest_trace",
        },
        tables=tuple(
            Table(
                at=at,
                columns={
                    "row": "row",
                    heading: "engine",
                    "the tool": "tool",
                    "verdict": "verdict",
                    "states": "states",
                    "events to the damage": "events",
                },
            )
            for at, heading in (
                ("listed", "in doubt the engine"),
                ("told_truthfully", "the tool declared as it is: the engine"),
            )
        ),
    ),
    Figure(
        name="modelcheck",
        title="Every history of small plans",
        command="python -m tests.evidence.counted modelcheck",
        shows=(
            "`fsm-saga verify` as a test: every order of events, crash, repeat, late copy and "
            "answer of a person, for every shape of up to four steps and for every kind of step "
            "with every kind of promise. What the search leaves out is compared with a search "
            "that leaves it in."
        ),
        leaves_out=(
            "Time is an order, not a length; a call's retry budget is cut to two attempts.",
            "Programs of more than four unlike steps are searched by `fsm-saga verify` only.",
            _PERSON,
        ),
        rows={
            "programs searched to the last configuration": "counts.programs",
            "configurations": "counts.configurations",
            "moves": "counts.moves",
            "programs that are not sound": "counts.programs that are not sound",
            "planted bugs caught": "counts.planted bugs caught",
            "programs searched with and without what is left out": "counts.programs compared",
            "tests": "passed",
            "tests that failed or were skipped": "failed_or_skipped",
        },
    ),
    Figure(
        name="crash-points",
        title="A fault at every point of I/O, and at every two",
        command="python -m tests.crashpoints --pairs all --json",
        shows=(
            "The real coordinator on all 40 orders of up to four steps, each step refusing and "
            "none, with tools that fence their undo and with plain ones. At every append, load "
            "and call the process dies before or after it, or the answer is lost with it done or "
            "not; then a second fault at every later point of what came of the first."
        ),
        leaves_out=(
            "Three faults and more; the simulation draws them, this does not try them all.",
            "The store is the one in memory, which is never wrong by itself.",
        ),
        rows={
            "runs with two faults": "pairs",
            "of so many that there are": "pairs_all",
            "runs with one fault, all that there are": "singles",
            "runs in which something did not hold": "wrong_runs",
            "plans": "plans",
            "runs per minute": "runs_per_minute",
        },
        tables=(Table(at="ends", key="end", columns={"runs": ""}),),
    ),
    Figure(
        name="kills",
        title="Processes killed with kill -9",
        command="python -m tests.evidence.counted kills",
        shows=(
            "Real processes on SQLite, killed at every pass of every failpoint, in the recovery "
            "from that at every pass again, in the middle of every write of SQLite, in loops, and "
            "at random; the next process finishes, and the tools' own ledger says what was done. "
            "`--long` kills several thousand more and is part of `make nightly`."
        ),
        leaves_out=(
            "A kill loses nothing that was written; the loss of power is the next figure.",
            "One process at a time coordinates.",
        ),
        rows={
            "kills": "counts.kills",
            "at each pass of each failpoint": "counts.kills: each pass of each failpoint",
            "recoveries of a chain": "counts.kills: chain",
            "recoveries of branches that fail": "counts.kills: diamond",
            "recoveries of branches that succeed": "counts.kills: done",
            "in the middle of a write of SQLite": "counts.kills: disk",
            "in loops": "counts.kills: loop",
            "at random": "counts.kills: at random",
            "tests": "passed",
            "tests that failed or were skipped": "failed_or_skipped",
        },
    ),
    Figure(
        name="power-loss",
        title="The power goes after every action of SQLite",
        command="python -m tests.evidence.counted power-loss",
        shows=(
            "Every write, sync, truncation and deletion of a real run is recorded, and each "
            "beginning of that list is played to a disk: with all that was not synced, with none "
            "of it, and with a random choice of its sectors. The real store opens what is left. "
            "With synchronous=NORMAL, with a disk that lies about its syncs, and without the log "
            "written again after a failed sync, records that were acknowledged are lost: so the "
            "test would see it."
        ),
        leaves_out=(
            "Sectors of 512 bytes are written whole or not at all.",
            "The file system keeps its own promises: names, sizes and order of its journal.",
        ),
        rows={
            "states with synchronous=FULL": "counts.full: states",
            "of these that lost something": "counts.full: states that lost something",
            "states with the power gone again in the recovery": "counts.again in recovery: states",
            "of those that lost something": (
                "counts.again in recovery: states that lost something"
            ),
            "states after a failed sync": "counts.after a failed sync: states",
            "of them that lost something": (
                "counts.after a failed sync: states that lost something"
            ),
            "actions of SQLite": "counts.full: actions of SQLite",
            "states run on to the end of their sagas": (
                "counts.full: run on to the end of their sagas"
            ),
            "control, synchronous=NORMAL: states": "counts.normal: states",
            "control, synchronous=NORMAL: lost something": (
                "counts.normal: states that lost something"
            ),
            "control, a disk that lies: states": "counts.lying disk: states",
            "control, a disk that lies: lost something": (
                "counts.lying disk: states that lost something"
            ),
            "control, log not written again: states": "counts.log not written again: states",
            "control, log not written again: lost something": (
                "counts.log not written again: states that lost something"
            ),
        },
    ),
    Figure(
        name="chaos",
        title="A cluster of real processes under faults",
        command="python -m tests.evidence.counted chaos",
        shows=(
            "Three members of etcd and three `fsm-saga serve`, with a fault proxy on every way. "
            "Leaders and members of etcd are killed, paused beyond the lease (also with a call or "
            "a write decided and not sent), cut off from etcd and from the tools one way, the "
            "other way and both, restarted one after the other; etcd loses its majority, its "
            "history every 100 ms, and its space; a thousand sagas come at once. Each fault must "
            "strike sagas under way, must have had its effect, and sagas must end after it. The "
            "books of the shop outside say what is true: DONE has each effect once, FAILED none, "
            "and no saga is lost. The lease is two seconds, and each wait has a bound. `--long` "
            "does it twenty times over, with the majority gone for 30 s instead of 5 s, and is "
            "part of `make nightly`."
        ),
        leaves_out=(
            "All processes share one machine and one clock.",
            "Between members of etcd nothing is lost or held; they are killed and paused.",
        ),
        rows={
            "sagas": "counts.sagas",
            "of these done": "counts.sagas done",
            "of these undone": "counts.sagas undone",
            "wrong by the books of the shop": "counts.wrong",
            "faults": "counts.faults",
            "calls that came to the shop more than once": (
                "counts.calls that came to the shop again"
            ),
            "waits": "counts.waits",
            "waits that took longer than their bound": "counts.waits longer than their bound",
            "tests that failed or were skipped": "failed_or_skipped",
        },
        tables=(
            Table(
                at="spreads",
                key="what",
                columns={
                    "times": "times",
                    "least": "least",
                    "median": "median",
                    "most": "most",
                },
            ),
            Table(at="counts", key="all counts", columns={"times": ""}),
        ),
    ),
    Figure(
        name="disk",
        title="Disks that fail, fill up, and flip bits",
        command="python -m tests.evidence.counted disk",
        shows=(
            "Every read, write and sync of a run fails, once and from then on, with the disk full, "
            "the write refused, the sync failed or the page not read; a file system is really "
            "filled and then made read-only; and one bit of the files is wrong. What is damaged "
            "is refused, or makes no difference, or is an earlier moment of the whole store; no "
            "journal was read that was never written."
        ),
        leaves_out=(
            "One wrong bit at a time.",
            "In the log a wrong bit is SQLite's end of it: what came after is gone.",
        ),
        rows={
            "bits flipped": "counts.flips",
            "journals read that were never written": (
                "counts.flips: a journal was read that was never written"
            ),
            "faults of the disk met": "counts.disk faults",
            "of these, the engine stopped and said why": (
                "counts.disk faults that stopped the engine"
            ),
            "of these, cost a moment only": "counts.disk faults that cost a moment",
            "of these, the store was not opened": (
                "counts.disk faults refused when the store was opened"
            ),
            "tests": "passed",
            "tests that failed or were skipped": "failed_or_skipped",
        },
        tables=(Table(at="counts", key="all counts", columns={"times": ""}),),
    ),
)
