"""Does execution get less sure along the course on which plan diversity rises, as in a policy that falls apart?

The uncertainty y of execution usually falls first, and the last of that fall hides the beginning of its loss. So both
are fitted together:

    held    y = a - f * fall + noise,                 f > 0
    lost    y = a - f * fall + b * course + noise,    f > 0, b > least

with ramps, decays and logistic curves as the fall, each as likely as the others. Level, f and b integrate out as in
`changepoint.py` (Zellner 1971, ch. 3), but that the sign of f is weighed as if b were known; falls and noise models are
summed over. A fall of another shape than these leaves a rest that looks like a loss, in proportion to the fall: `least`
is a share of it, and some of the noise. Where too little was seen behind the onset to tell the two apart, the Bayes
factor is about 1.
"""

from __future__ import annotations

import numpy as np

from diagnostics.phase.changepoint import AFTER, log_fit, log_twice_normal
from diagnostics.phase.noise import innovations, local_level, observation_scale, whitening
from diagnostics.phase.rise import observations

KNOTS = np.r_[0, 0.02, np.linspace(0.05, 1, 20)]  # of the record: where ramps begin, end
DECAYS = np.geomspace(0.01, 0.7, 20)  # of the record: time constants; half as many leave a rest like a loss
POWERS = (0.6, 1.0, 1.5, 2.0)  # of time over its constant: stretched, exponential, compressed, Gaussian
CENTRES, WIDTHS = np.linspace(0.05, 0.8, 16), (0.02, 0.05, 0.1)  # of the record: logistic falls
LEAST, SHARE = 2.0, 0.1  # of a loss that is one: in standard deviations of the noise, and of the fall
LOSS_EXPECTED, FALL_EXPECTED = 5.0, 15.0  # standard deviations of the noise; consolidation is many times its noise


def loss_along(steps: np.ndarray, execution: np.ndarray, onset: int, end: int) -> float:
    """Log Bayes factor of execution (N,) getting less sure from `onset` to `end`, straight; 0 if unknown."""
    known = observations(steps, execution)
    if known is None:
        return 0.0
    times, kept, _ = known
    onset, end = max(onset, times[0]), max(end, onset + 1)
    if np.count_nonzero(times > onset) < AFTER or end <= onset:
        return 0.0
    course = np.clip((times - onset) / (end - onset), 0, 1)
    columns = np.column_stack([np.ones(len(times)), kept - kept.mean(), course, falls(times)])
    filters = whitening(times)
    spread = np.log(filters.spread[..., 0]).sum(0)
    white = np.stack(list(innovations(filters, columns)), 1)
    left, _ = _compared(white, spread)
    return _compared(white / observation_scale(local_level(left), left)[:, None], spread)[1]


def falls(times: np.ndarray) -> np.ndarray:
    """(N, F) courses of a fall, from 0 to -1 or on the way there."""
    since = ((times - times[0]) / (times[-1] - times[0]))[:, None]
    begin, end = np.triu_indices(len(KNOTS), 1)
    ramps = np.clip((since - KNOTS[begin]) / (KNOTS[end] - KNOTS[begin]), 0, 1)
    decays = [np.exp(-((since / DECAYS) ** power)) - 1 for power in POWERS]
    logistic = [1 / (1 + np.exp((since - CENTRES) / width)) - 1 for width in WIDTHS]
    return np.column_stack([-ramps, *decays, *logistic])


def _compared(white: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, float]:
    """What the likeliest "lost" leaves of y, (N,), and the log Bayes factor of "lost" against "held".

    From level, y, course and falls, whitened, (P, N, 3 + F), and the logarithm (P,) of what whitening divided by.
    """
    level, others = white[..., :1], white[..., 1:]
    total = (level**2).sum(1, keepdims=True)
    others = others - level * ((level * others).sum(1, keepdims=True) / total)
    products = others[..., :2].transpose(0, 2, 1) @ others
    yy, gy, uy = products[:, 0, :1], products[:, 0, 1:2], products[:, 0, 2:]
    gg, ug, uu = products[:, 1, 1:2], products[:, 1, 2:], (others[..., 2:] ** 2).sum(1)
    freedom, constant = white.shape[1] - 1, (spread + 0.5 * np.log(total[:, 0, 0]))[:, None]
    fit, _, _ = log_fit(uu, uy, yy, freedom, FALL_EXPECTED)
    held = fit - constant

    shrunk = uu + FALL_EXPECTED**-2
    free = gg - ug**2 / shrunk
    fit, loss, rest = log_fit(free, gy - ug * uy / shrunk, yy - uy**2 / shrunk, freedom, LOSS_EXPECTED)
    sigma = np.sqrt(rest / freedom)
    least, sharp = np.maximum(LEAST * sigma, SHARE * uy / shrunk), np.sqrt(free + LOSS_EXPECTED**-2) / sigma
    fit += log_twice_normal((loss - least) * sharp) - log_twice_normal(loss * sharp)
    fit -= log_twice_normal(-least / (LOSS_EXPECTED * sigma))
    fall = (uy - ug * loss) / shrunk
    sure = shrunk - ug**2 / (gg + LOSS_EXPECTED**-2)
    fit += log_twice_normal(fall * np.sqrt(sure * freedom / rest)) - 0.5 * np.log1p(FALL_EXPECTED**2 * uu)
    lost = fit - constant
    p, f = np.unravel_index(np.argmax(lost), lost.shape)
    left = others[p, :, 0] - loss[p, f] * others[p, :, 1] - fall[p, f] * others[p, :, 2 + f]
    return left, float(np.logaddexp.reduce(lost, axis=None) - np.logaddexp.reduce(held, axis=None))
