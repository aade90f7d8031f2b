"""The file of the network tagger: which arrays it holds, and whether they fit each other."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from diagnostics.taggers.pieces import CLASSES, TRAITS

REACH = (3, 5, 5)  # pieces that each layer sees
ZIP = b"PK"  # which an npz archive begins with


class Weights(NamedTuple):
    """V words, D numbers a word; A, B, C channels of the three layers."""

    words: np.ndarray  # (V,) str: known words and the classes of the others
    vectors: np.ndarray  # (V, D) int8, in units of `unit`
    unit: np.ndarray  # (D,)
    traits: np.ndarray  # (TRAITS, D), added to a word's vector
    first: np.ndarray  # (3, D, A): for the piece before, itself, the piece behind
    first_bias: np.ndarray  # (A,)
    sentence: np.ndarray  # (A, A)
    second: np.ndarray  # (5, A, B)
    second_bias: np.ndarray  # (B,)
    third: np.ndarray  # (5, B, C)
    third_bias: np.ndarray  # (C,)
    last: np.ndarray  # (C,)
    last_bias: np.ndarray  # ()
    threshold: np.ndarray  # () logit that a piece must reach to be part of a phrase
    certain: np.ndarray  # () logit that one piece of a phrase must reach
    version: np.ndarray  # () str: what the file says about itself


KINDS = {"words": "U", "version": "U", "vectors": "i"}  # of numpy; the others are floats


def load(path: Path) -> Weights:
    """A network file, floats in single precision. ValueError says what is wrong with it."""
    try:
        with path.open("rb") as file:
            if file.read(len(ZIP)) != ZIP:
                raise ValueError("expected an npz archive; for a list of phrases the tagger is `lexicon`")
            file.seek(0)
            held = np.load(file, allow_pickle=False)
            missing = sorted(set(Weights._fields) - set(held))
            if missing:
                raise ValueError(f"expected the array {missing[0]!r}, found none")
            weights = Weights(*(np.asarray(held[name]) for name in Weights._fields))
        _check(weights)
    except OSError as error:
        raise ValueError(f"network file {str(path)!r}: cannot be read ({error.strerror})") from None
    except (ValueError, EOFError, BadZipFile, zlib.error, TokenError) as error:
        raise ValueError(f"network file {str(path)!r}: {error}; `benchmarks/tagger_training.py` writes one") from None
    floats = {name: of.astype(np.float32) for name, of in weights._asdict().items() if name not in KINDS}
    return weights._replace(**floats)


def hash_of(weights: Weights) -> str:
    """Of what the network marks: everything but its version."""
    said = hashlib.sha256("\n".join(weights.words.tolist()).encode())
    for name, array in weights._asdict().items():
        if name not in ("words", "version"):
            said.update(f"{name} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return said.hexdigest()[:12]


def _check(weights: Weights) -> None:
    """ValueError where kinds or shapes are off, a number is not finite, or a word is named twice or missing."""
    for name, array in weights._asdict().items():
        if array.dtype.kind != KINDS.get(name, "f"):
            raise ValueError(f"expected numbers or text of another kind in {name!r}, found {array.dtype}")
        if name not in KINDS and not (np.abs(array) < np.finfo(np.float32).max).all():
            raise ValueError(f"expected finite numbers in {name!r}")
    words, width = weights.vectors.shape if weights.vectors.ndim == 2 else (0, 0)
    first, second, third = (of.shape[-1] if of.ndim else 0 for of in (weights.first, weights.second, weights.third))
    expected: Mapping[str, tuple[int, ...]] = {
        "words": (words,), "vectors": (words, width), "unit": (width,), "traits": (TRAITS, width),
        "first": (REACH[0], width, first), "first_bias": (first,), "sentence": (first, first),
        "second": (REACH[1], first, second), "second_bias": (second,),
        "third": (REACH[2], second, third), "third_bias": (third,),
        "last": (third,), "last_bias": (), "threshold": (), "certain": (), "version": (),
    }  # fmt: skip
    for name, shape in expected.items():
        if getattr(weights, name).shape != shape:
            raise ValueError(f"expected {name!r} of shape {shape}, found {getattr(weights, name).shape}")
        if 0 in shape:
            raise ValueError(f"expected numbers in {name!r}, found none")
    unnamed = set(CLASSES) - set(weights.words.tolist())
    if unnamed:
        raise ValueError(f"expected the word class {min(unnamed)!r} among the words, found none")
    if len(set(weights.words.tolist())) < words:
        raise ValueError("expected each word once in 'words'")
