"""Smoothed log-odds of a share: along a line or a parabola in the step, or along what training pushed it by.

A share moves because completions of that form got more advantage than the others: the change of its mean is the
covariance of form and advantage (Price 1970, Nature 227), and for a policy that is a softmax over the forms a gradient
step adds exactly that to the log-odds, times the learning rate. So the sum of these pushes, which is known without any
noise of sampling, has the course of the log-odds up to a factor, where the policy is anything like that; one
factor is learned from many steps more exactly than a bend from a few. Where it is not, the parabola fits better and is
believed instead.
"""

from __future__ import annotations

from math import log
from typing import NamedTuple

import numpy as np

RIDGE = 1e-3  # keeps a share of exactly 1 finite


class Curve(NamedTuple):
    """A curve through log-odds."""

    fitted: np.ndarray  # (steps,)
    error: float  # standard error at the last step
    evidence: float  # log-likelihood, less what its coefficients cost (Schwarz 1978)


def logit_curve(steps: np.ndarray, shares: np.ndarray, variances: np.ndarray, degree: int) -> Curve:
    """A polynomial in the step through the log-odds of shares with these variances. Arrays are (steps,).

    A form that gains in proportion to what it has is a straight line in log-odds; a penalty on the divergence
    from the base bends it. So a ramp makes the curve neither lag behind nor run ahead.
    """
    x = ((steps - steps[-1]) / max(steps[-1] - steps[0], 1.0))[:, None] ** np.arange(degree + 1)
    return _fitted(x, shares, variances)


def driven_curve(pushed: np.ndarray, shares: np.ndarray, variances: np.ndarray) -> Curve:
    """A level and a multiple of what was pushed so far, (steps,), through the log-odds of shares."""
    x = pushed - pushed[-1]
    x = x / max(float(np.abs(x).max()), 1e-12)
    return _fitted(np.column_stack([np.ones(len(x)), x]), shares, variances)


def logit(share: float) -> float:
    """Log-odds."""
    return log(share / (1 - share))


def _fitted(x: np.ndarray, shares: np.ndarray, variances: np.ndarray) -> Curve:
    """Logistic regression of shares on columns x, 1 and 0 otherwise at the last step, by reweighted least squares."""
    mean = float(np.clip(shares.mean(), 0.01, 0.99))
    size = max(mean * (1 - mean) / float(variances.mean()), 1.0)  # independent completions that a step is worth
    beta = np.zeros(x.shape[1])
    beta[0] = logit(mean)
    ridge = RIDGE * np.eye(len(beta))
    for _ in range(12):
        fitted = 1 / (1 + np.exp(-np.clip(x @ beta, -12, 12)))
        weights = size * np.maximum(fitted * (1 - fitted), 1e-4)
        information = x.T @ (weights[:, None] * x) + ridge
        move = np.clip(np.linalg.solve(information, size * x.T @ (shares - fitted) - ridge @ beta), -2, 2)
        beta = beta + move
        if np.abs(move).max() < 1e-4:
            break
    odds = np.clip(x @ beta, -12, 12)
    likelihood = size * float((shares * odds - np.logaddexp(0.0, odds)).sum())
    cost = 0.5 * len(beta) * log(size * len(shares))
    return Curve(x @ beta, float(np.sqrt(np.linalg.inv(information)[0, 0])), likelihood - cost)
