"""The hash chain: what is hashed is one text, however it is made."""

import json

from hypothesis import given
from hypothesis import strategies as st

from lava_proxy.core.entities import Transaction
from lava_proxy.core.ids import TransactionId
from lava_proxy.core.journal import GENESIS_HASH, link_content, move

ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=12) | st.text('\x7f\\"/\n\x00é€😀', max_size=6)


@given(ANY_TEXT, ANY_TEXT, st.integers(-(2**80), 2**80))
def test_what_is_hashed_is_the_same_text_as_ever(note: str, key: str, amount: int) -> None:
    """A chain that was begun by an earlier version goes on under this one."""
    transaction = Transaction(
        transaction_id=TransactionId("txn_1"),
        kind="grant",
        key=key,
        at_us=7,
        note=note,
        postings=move("a", "b", abs(amount)),
    )
    parts = [GENESIS_HASH, 1, "txn_1", "grant", key, 7, None, None, note, transaction.actor]
    parts.append([["a", "b", abs(amount)]] if amount else [])
    expected = json.dumps(parts, ensure_ascii=True, separators=(",", ":")).encode()

    assert link_content(GENESIS_HASH, 1, transaction) == expected
