"""What the classical learner counts in a text, and what it makes of it; the gate's other eyes are those of any text."""

from collections.abc import Sequence
from typing import Any

WORDS, LETTERS = 1 << 17, 1 << 17
"""Columns that words and pairs of words, and runs of letters, are hashed into."""
_READ = 4_000
"""Characters of a text that are counted: of a long one the beginning says enough."""


def counts(contents: Sequence[bytes]) -> Any:
    """Count words, pairs of words, and runs of three and four letters inside words: [contents, WORDS + LETTERS]."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import HashingVectorizer

    texts = [content[: 4 * _READ].decode("utf-8", "ignore")[:_READ] for content in contents]
    common: dict[str, Any] = {"alternate_sign": False, "norm": None, "dtype": "float32"}
    words = HashingVectorizer(n_features=WORDS, ngram_range=(1, 2), **common)
    letters = HashingVectorizer(n_features=LETTERS, analyzer="char_wb", ngram_range=(3, 4), **common)
    if not texts:
        return csr_matrix((0, WORDS + LETTERS), dtype="float32")
    return hstack([words.transform(texts), letters.transform(texts)], format="csr")


def classifier() -> Any:
    """TF-IDF and a logistic regression for each class against the others; rare ones weigh as much as common ones.

    In the dual that is a matter of a second, with so many columns; all classes at once take far longer.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline

    each = LogisticRegression(solver="liblinear", dual=True, class_weight="balanced", random_state=0)
    return make_pipeline(_weighed(), OneVsRestClassifier(each))


def regressor() -> Any:
    """TF-IDF and a ridge regression."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    return make_pipeline(_weighed(), Ridge(alpha=1.0, solver="sparse_cg", tol=1e-3))


def _weighed() -> Any:
    """Weigh words and letters each by how rare they are, and bring each text to one length."""
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import TfidfTransformer

    return ColumnTransformer(
        [
            ("words", TfidfTransformer(sublinear_tf=True), slice(0, WORDS)),
            ("letters", TfidfTransformer(sublinear_tf=True), slice(WORDS, WORDS + LETTERS)),
        ],
        sparse_threshold=1.0,
    )
