"""Token ids to text, with the place in the text where each token ends.

Rewards, taggers and the rollout files work on text, the trainer on tokens; `offsets` joins the two.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np


class TokenText:
    """Decodes completions; built once per tokenizer.

    The text is `tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)`.
    Byte-level BPE (GPT-2, Llama 3, Qwen, SmolLM2, ...) goes through a table id -> bytes; any other
    tokenizer is decoded token by token.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._bytes = byte_table(tokenizer)
        if self._bytes is not None:
            self._lengths = np.array([len(piece) for piece in self._bytes], dtype=np.int32)

    def __call__(self, token_ids: Sequence[int] | np.ndarray) -> tuple[str, np.ndarray]:
        """The text, and each token's end in it: (T,) int32, so that text[o[i-1]:o[i]] join to the text.

        A token that ends inside a character has an empty slice, the one that completes it has the
        character; special tokens and ids the tokenizer does not know have an empty slice.
        """
        ids = np.asarray(token_ids, dtype=np.int64)
        assert ids.ndim == 1 and (ids.size == 0 or ids.min() >= 0), ids
        if not ids.size:
            return "", np.zeros(0, dtype=np.int32)
        if self._bytes is None:
            return _decode_stepwise(self._tokenizer, ids.tolist())
        # The table's last row is the empty one, for ids past the vocabulary (a model's padded head).
        ids = np.minimum(ids, len(self._bytes) - 1)
        data = b"".join(map(self._bytes.__getitem__, ids.tolist()))
        ends = np.cumsum(self._lengths[ids], dtype=np.int32)
        if data.isascii():
            return data.decode("ascii"), ends
        return _decode_utf8(data, ends)


def byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in for each byte: character -> byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


def byte_table(tokenizer: Any) -> list[bytes] | None:
    """The bytes of each token id, with an empty last row; None when the tokenizer is not byte-level."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or (json.loads(backend.to_str())["decoder"] or {}).get("type") != "ByteLevel":
        return None
    alphabet = byte_alphabet()
    special = {token_id for token_id, token in backend.get_added_tokens_decoder().items() if token.special}
    vocabulary = backend.get_vocab(with_added_tokens=True)
    table = [b""] * (max(vocabulary.values()) + 2)
    for token, token_id in vocabulary.items():
        if token_id in special:
            continue
        # Added tokens may hold plain text (a space, CJK), which the byte-level decoder keeps as it is.
        plain = any(char not in alphabet for char in token)
        table[token_id] = token.encode() if plain else bytes(map(alphabet.__getitem__, token))
    return table


def _decode_utf8(data: bytes, ends_T: np.ndarray) -> tuple[str, np.ndarray]:
    """Decode, and turn byte ends into the number of characters complete at each."""
    text = data.decode("utf-8", errors="replace")
    starts = character_starts(np.frombuffer(data, dtype=np.uint8))
    begun = np.concatenate(([0], np.cumsum(starts, dtype=np.int32)))  # characters begun before byte p
    assert begun[-1] == len(text), (begun[-1], len(text), data)
    inside = np.concatenate((~starts, [False]))  # a cut at byte p falls inside a character
    return text, (begun[ends_T] - inside[ends_T]).astype(np.int32)


def character_starts(data: np.ndarray) -> np.ndarray:
    """Which bytes begin a character, (N,) uint8 -> (N,) bool; what is invalid decodes to U+FFFD.

    A lead byte claims the continuation bytes that can follow it, complete or not (Unicode's "maximal
    subparts", which Python and Rust both replace by one U+FFFD); every other byte stands alone.
    """
    padded = np.concatenate((data, np.zeros(3, dtype=np.uint8)))
    first, second, third, fourth = (padded[k : k + len(data)] for k in range(4))
    low = np.full(len(data), 0x80, dtype=np.uint8)
    high = np.full(len(data), 0xBF, dtype=np.uint8)
    low[first == 0xE0], high[first == 0xED] = 0xA0, 0x9F  # overlong forms; surrogates
    low[first == 0xF0], high[first == 0xF4] = 0x90, 0x8F  # overlong forms; past U+10FFFF
    takes_2 = (first >= 0xC2) & (first <= 0xF4) & (second >= low) & (second <= high)
    takes_3 = takes_2 & (first >= 0xE0) & ((third & 0xC0) == 0x80)
    takes_4 = takes_3 & (first >= 0xF0) & ((fourth & 0xC0) == 0x80)
    starts = np.ones(len(data), dtype=bool)
    for distance, takes in enumerate((takes_2, takes_3, takes_4), start=1):
        starts[np.flatnonzero(takes) + distance] = False
    return starts


def _decode_stepwise(tokenizer: Any, ids: list[int]) -> tuple[str, np.ndarray]:
    """The general path: sentencepiece and others, where a token's text depends on its neighbours."""
    text = _decode(tokenizer, ids)
    pieces = _pieces(tokenizer, ids)
    if text.startswith("".join(pieces)):
        ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int32)
    else:  # invalid bytes: a window decodes them otherwise than the whole does, so look at every prefix
        ends = np.array([_agreement(_decode(tokenizer, ids[: i + 1]), text) for i in range(len(ids))], dtype=np.int32)
        ends = np.maximum.accumulate(ends)
    ends[-1] = len(text)  # what never completed belongs to the last token
    return text, ends


def _decode(tokenizer: Any, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def _pieces(tokenizer: Any, ids: list[int]) -> list[str]:
    """The text each token adds, decoded in a window that reaches back over the previous whole piece.

    The method of vLLM's incremental detokenizer: the window's first tokens only give context, so that
    a leading space survives.
    """
    pieces, context, done = [], 0, 0
    for i in range(len(ids)):
        before, after = _decode(tokenizer, ids[context:done]), _decode(tokenizer, ids[context : i + 1])
        if len(after) > len(before) and not after.endswith("\N{REPLACEMENT CHARACTER}"):
            pieces.append(after[len(before) :])
            context, done = done, i + 1
        else:
            pieces.append("")
    return pieces


def _agreement(prefix: str, text: str) -> int:
    """How far the decoded prefix is already the text (not counting a character still incomplete)."""
    prefix = prefix.rstrip("\N{REPLACEMENT CHARACTER}")
    return next((i for i, (a, b) in enumerate(zip(prefix, text, strict=False)) if a != b), min(len(prefix), len(text)))
