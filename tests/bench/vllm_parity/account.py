"""Rows beside vLLM's own counters, and where what they do not have in common comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from tests.bench.router.report import Bar, Section
from tests.bench.vllm_parity.asking import Seen
from tests.bench.vllm_parity.plans import COUNTING, GENERATING

DIFFERENCE_MAX = 0.001  # of what vLLM has counted, after what is explained


@dataclass(frozen=True, slots=True)
class Row:
    """What a raw row says."""

    endpoint: str
    status: str
    token_source: str
    input_tokens: int
    output_tokens: int
    cost_picousd: int | None


@dataclass(frozen=True, slots=True)
class Counted:
    """vLLM's counters, or what they grew by."""

    prompt_tokens: int
    generation_tokens: int


@dataclass(frozen=True, slots=True)
class Account:
    """Both sides, and what explains their difference.

    A client that leaves ends its call at the engine, which has by then made tokens that nobody was sent, and states nothing
    any more. A stream has told what it had made, to the last event that was read; a Responses stream its pieces, but not its
    input (vLLM's events have `usage: null` before the last one); and an answer that is no stream nothing at all.
    """

    seen: Sequence[Seen]
    rows: Mapping[UUID, Row]
    counted: Counted
    prompts: Mapping[tuple[str, str], int]
    """{(path, text): its tokens}, from the engine itself."""

    @property
    def of_the_model(self) -> list[Row]:
        """Rows of calls that ran the model."""
        return [row for row in self.rows.values() if row.endpoint not in ("tokenize", "detokenize")]

    @property
    def in_rows(self) -> Counted:
        rows = self.of_the_model
        return Counted(sum(row.input_tokens for row in rows), sum(row.output_tokens for row in rows))

    @property
    def missing(self) -> Counted:
        """What vLLM has counted and no row has."""
        rows = self.in_rows
        return Counted(self.counted.prompt_tokens - rows.prompt_tokens, self.counted.generation_tokens - rows.generation_tokens)

    @property
    def left_streams(self) -> list[Seen]:
        return [one for one in self.seen if one.left and one.request_id]

    @property
    def left_unanswered(self) -> list[Seen]:
        return [one for one in self.seen if one.left and not one.request_id]

    @property
    def unstated(self) -> int:
        """Prompt tokens of Responses streams that were left: exactly known, as their prompts are."""
        return sum(
            self.prompts[one.plan.path, one.plan.text]
            for one in self.left_streams
            if one.plan.path == "/v1/responses" and not self.rows[UUID(one.request_id)].input_tokens
        )

    @property
    def unanswered_max(self) -> Counted:
        """What calls whose clients left before the answer can have cost the engine, if it came to them."""
        plans = [one.plan for one in self.left_unanswered]
        return Counted(sum(self.prompts[plan.path, plan.text] for plan in plans), sum(plan.tokens_max for plan in plans))

    @property
    def overhang_max(self) -> int:
        """Tokens that streams can have made behind the last one that was read before the client left."""
        return sum(one.plan.tokens_max - self.rows[UUID(one.request_id)].output_tokens for one in self.left_streams)

    @property
    def unexplained(self) -> Counted:
        """What is missing, or there too much, beyond all that; 0 is right."""
        missing, unanswered = self.missing, self.unanswered_max
        return Counted(
            _outside(missing.prompt_tokens, self.unstated, self.unstated + unanswered.prompt_tokens),
            _outside(missing.generation_tokens, 0, self.overhang_max + unanswered.generation_tokens),
        )

    def mismatches(self) -> list[str]:
        """What is not as it must be; nothing is right."""
        found = []
        if len(self.rows) != len(self.seen):
            found.append(f"{len(self.seen)} requests and {len(self.rows)} rows")
        for one in self.seen:
            if one.left or one.request_id is None:
                continue
            row = self.rows.get(UUID(one.request_id))
            if row is None or row.status != "completed":
                found.append(f"{one.request_id} was answered, and its row says {row}")
            elif one.usage is not None and one.usage != (row.input_tokens, row.output_tokens):
                found.append(f"{one.request_id}: the answer says {one.usage}, its row {row}")
        found += [f"a whole answer without a price: {row}" for row in self.rows.values() if row.cost_picousd is None]
        bad = self.unexplained
        if bad != Counted(0, 0):
            found.append(f"unexplained: {bad}; {self.missing} missing of {self.counted}")
        return found

    def sections(self) -> list[Section]:
        """What is printed."""
        kinds = [(path, stream) for path in (*GENERATING, *COUNTING, "/v1/embeddings") for stream in (False, True)]
        of_kind = {kind: [one for one in self.seen if (one.plan.path, one.plan.stream) == kind] for kind in kinds}
        asked = tuple(
            (f"`{path}`{', streams' if stream else ''}", str(len(of)), str(sum(one.left for one in of)))
            for (path, stream), of in of_kind.items()
            if of
        )
        rows, missing, most = self.in_rows, self.missing, self.unanswered_max
        counting = [row.input_tokens for row in self.rows.values() if row.endpoint in ("tokenize", "detokenize")]
        apart = f"Rows of {len(counting)} tokenize and detokenize calls have {sum(counting)} tokens more: they run no model."
        return [
            Section("What was asked", ("path", "requests", "left by the client"), asked),
            Section(
                "Tokens in rows and in vLLM's counters",
                ("", "prompt", "generated"),
                (
                    ("`vllm:prompt_tokens_total`, `vllm:generation_tokens_total`", *_pair(self.counted)),
                    ("rows of calls that ran the model", *_pair(rows)),
                    ("missing in rows", *_pair(missing)),
                    (
                        "of it, Responses streams that were left: vLLM states their input at their end only",
                        str(self.unstated),
                        "",
                    ),
                    (
                        f"of it, {len(self.left_unanswered)} calls that were left before the answer: at most",
                        *_pair(most),
                    ),
                    (
                        f"of it, behind the last event that {len(self.left_streams)} left streams read: at most",
                        "",
                        str(self.overhang_max),
                    ),
                    ("unexplained", *_pair(self.unexplained)),
                ),
                (apart,),
            ),
        ]

    def bars(self) -> list[Bar]:
        """Issue 4's."""
        bad = self.unexplained
        shares = bad.prompt_tokens / self.counted.prompt_tokens, bad.generation_tokens / self.counted.generation_tokens
        share = max(map(abs, shares))
        return [
            Bar(
                "tokens in rows, of vLLM's counters, after what is explained",
                f"{share:.3%} off",
                "within 0.1 %",
                share <= DIFFERENCE_MAX,
            )
        ]


def _outside(value: int, low: int, high: int) -> int:
    return value - low if value < low else max(value - high, 0)


def _pair(counted: Counted) -> tuple[str, str]:
    return str(counted.prompt_tokens), str(counted.generation_tokens)
