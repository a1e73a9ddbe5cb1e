"""Every write can be repeated: the same key with the same content gives the first result, and writes nothing again.

The result is stored in the transaction of the write itself, so there is no moment at which one exists without the other.
"""

import hashlib
import json
from collections.abc import Callable

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.entities import IdempotentResult
from lava_proxy.core.errors import IdempotencyConflict, InvalidInput
from lava_proxy.core.ports import Decision, Ledger, Rows

KEY_CHARACTERS_MAX = 255


class By(Struct, frozen=True, kw_only=True):
    """Who writes, and under which idempotency key; without one, a repetition is a write of its own."""

    actor: str
    idempotency_key: str | None = None


class Answer[R](Struct, frozen=True, kw_only=True):
    value: R
    is_repeat: bool
    """True where it was written earlier under the same idempotency key."""


Content = tuple[object, ...]
"""What was asked for: the action's name and its arguments, all of them plain values or Structs."""


def once[S, R](
    ledger: Ledger,
    load: Callable[[Rows], S],
    decide: Callable[[S], Decision[R]],
    *,
    by: By,
    now_us: int,
    kind: type[R],
    content: Content,
) -> Answer[R]:
    """Write what ``decide`` says, once per idempotency key; ``kind`` is the type of its result.

    Raises:
        IdempotencyConflict: the key was used for something else.
        LedgerUnavailable: nothing was written.
        whatever ``load`` or ``decide`` raise; then the key stays unused.
    """
    key = by.idempotency_key
    if key is None:
        return ledger.transact(load, lambda state: _fresh(decide(state))).result()
    if not 0 < len(key) <= KEY_CHARACTERS_MAX:
        raise InvalidInput(
            f"idempotency_key: it must have 1 to {KEY_CHARACTERS_MAX} characters", field="idempotency_key"
        )
    content_sha256 = _hash(content)

    def load_both(rows: Rows) -> tuple[IdempotentResult | None, S | None]:
        earlier = rows.get(IdempotentResult, key)
        return earlier, None if earlier else load(rows)

    def decide_both(state: tuple[IdempotentResult | None, S | None]) -> Decision[Answer[R]]:
        earlier, loaded = state
        if earlier is not None:
            return Decision(result=_repeat(earlier, content_sha256, kind))
        decision = _fresh(decide(loaded))  # type: ignore[arg-type] # loaded, as nothing was stored
        text = msgspec.json.encode(decision.result.value).decode()
        row = IdempotentResult(key=key, content_sha256=content_sha256, result=text, created_us=now_us)
        return replace(decision, rows=(*decision.rows, row))

    return ledger.transact(load_both, decide_both).result()


def _fresh[R](decision: Decision[R]) -> Decision[Answer[R]]:
    answer = Answer(value=decision.result, is_repeat=False)
    return Decision(result=answer, transactions=decision.transactions, rows=decision.rows)


def _repeat[R](earlier: IdempotentResult, content_sha256: str, kind: type[R]) -> Answer[R]:
    if earlier.content_sha256 != content_sha256:
        raise IdempotencyConflict(
            f"The idempotency key {earlier.key!r} was used for something else.",
            hint="Take a new key for a new request.",
        )
    return Answer(value=msgspec.json.decode(earlier.result, type=kind), is_repeat=True)


def _hash(content: Content) -> str:
    plain = msgspec.to_builtins(content, str_keys=True)
    return hashlib.sha256(json.dumps(plain, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
