"use strict";
// What one token's advantage is made of, with the arithmetic spelt out. Pure functions over a completion's numbers.

Rollouts.explain = (() => {
  const { line, number: n } = Rollouts.text;
  /** The value of a token in a list that is short where all are equal. */
  const at = (values, i) => (Array.isArray(values) ? values[i] : values);
  const known = (value) => typeof value === "number" && Number.isFinite(value);
  const bracket = (value) => (value < 0 ? `(${n(value)})` : n(value));

  /** Log-probability of the trainer minus the sampler's. */
  const drift = (c, i) => {
    const [trainer, sampler] = [at(c.train_logprob, i), at(c.logprob, i)];
    return known(trainer) && known(sampler) ? trainer - sampler : null;
  };
  const bonus = (c, i) => at(c.planning_bonus, i) ?? 0;
  const ratio = (c, i) => at(c.ratio, i) ?? (drift(c, i) === null ? null : Math.exp(drift(c, i)));
  /** The advantage of a token as it entered the loss; null where the completion was not trained on. */
  const advantage = (c, i) => {
    if (!known(c.advantage) || c.train_logprob === null) return null;
    return at(c.token_advantage, i) ?? c.advantage + bonus(c, i);
  };

  /** One row a reward: its share of the reward and the terms it reports. */
  const rewards = (settings, c) =>
    Object.entries(c.values).map(([name, value]) => {
      const spec = settings.rewards[name] ?? {};
      const parts = Object.entries(c.parts).filter(([part]) => part.startsWith(`${name}/`));
      return {
        name, value, role: spec.role ?? null, weight: spec.weight ?? null, range: spec.range ?? null,
        share: known(value) && known(spec.weight) ? value * spec.weight : null,
        parts: parts.map(([part, reached]) => [part.slice(name.length + 1), reached]),
      };
    });

  const rewardRow = (settings, c) => {
    const given = rewards(settings, c).filter((reward) => known(reward.value));
    const sum = given.map((r) => (known(r.weight) ? `${n(r.weight)} \u00d7 ${n(r.value)} ${line(r.name, 60)}` : `${n(r.value)} ${line(r.name, 60)}`));
    const whole = given.reduce((total, r) => total + (r.share ?? NaN), 0);
    const fits = Math.abs(whole - c.reward) <= 1e-4 * Math.max(1, Math.abs(c.reward));
    const note = c.error ? "the judgement failed, so this completion is neither praised nor blamed"
      : fits ? "weight \u00d7 value of each reward" : "as recorded; its weights are not in the run's config";
    return { name: "reward", sum: sum.join(" + ") || n(c.reward), value: c.reward, note };
  };

  const baselineNote = (settings, c, mean) => {
    if (known(mean) && Math.abs(mean - c.baseline) <= 1e-4 * Math.max(1, Math.abs(mean))) return "mean reward of the group";
    if (settings.combine === "normalize_then_sum") return "what is left once each reward is normalised in the group and summed";
    if (settings.guard && known(mean) && c.baseline > mean) return "raised above the group's mean: the push of a lucky hit is withheld";
    return "as recorded for this group";
  };
  const SCALES = {
    none: "divided by nothing", group: "standard deviation of the group, + 0.0001",
    batch: "standard deviation of the batch, + 0.0001",
  };

  const bonusRow = (settings, c, i) => {
    const added = bonus(c, i), alpha = settings.hicra?.alpha, row = { name: "planning bonus (HICRA)", value: added };
    const planned = at(c.planning, i);
    if (!added) {
      const why = !settings.hicra ? "no planning credit in this run" : planned ? "the credit was not active" : "not a planning token";
      return { ...row, sum: "0", note: why };
    }
    const expected = known(alpha) ? alpha * Math.abs(c.advantage) : NaN;
    const spelt = Math.abs(expected - added) <= 1e-4 * Math.max(1, Math.abs(added));
    const note = planned ? "more credit where the completion plans" : "more credit where the policy was undecided";
    return { ...row, sum: spelt ? `${n(alpha)} \u00d7 |${n(c.advantage)}|` : n(added), note };
  };

  /** The factor of the importance correction. */
  const weightRow = (settings, c, i) => {
    const r = ratio(c, i), row = { name: "ratio, trainer / sampler" };
    if (r === null) return { ...row, sum: "1", value: 1, note: "no log-probabilities to compare" };
    const [t, s] = [at(c.train_logprob, i), at(c.logprob, i)];
    const told = known(t) && known(s) ? `exp(${n(t)} \u2212 ${bracket(s)}) = ${n(r)}` : n(r);
    if (settings.aligned === false) return { ...row, sum: told, value: r, note: "before the loss clips it" };
    const { correction, cap } = settings;
    if (correction === "none") return { ...row, sum: told, value: 1, note: "not corrected for: the factor is 1" };
    if (correction?.startsWith("sequence")) return sequenceRow(settings, c, row);
    if (correction === "token_mask" && known(cap)) {
      const inside = r <= cap && r >= 1 / cap;
      return { ...row, sum: told, value: inside ? r : 0, note: inside ? `inside [1/${n(cap)}, ${n(cap)}]` : `outside [1/${n(cap)}, ${n(cap)}]: masked` };
    }
    if (known(cap) && r > cap) return { ...row, sum: `min(${told}, ${n(cap)})`, value: cap, note: "capped" };
    return { ...row, sum: told, value: r, note: known(cap) ? `under the cap ${n(cap)}` : "" };
  };
  const sequenceRow = (settings, c, row) => {
    let sum = 0;
    for (let j = 0; j < c.pieces.length; j++) sum += drift(c, j) ?? 0;
    if (c.pieces.length < c.tokens) return { ...row, sum: "of the whole completion", value: NaN, note: "open the rest of the text first" };
    const r = Math.exp(Math.min(30, sum)), { cap } = settings, outside = r > cap || r < 1 / cap;
    const value = settings.correction === "sequence_mask" ? (outside ? 0 : r) : Math.min(r, cap);
    return { ...row, sum: `exp(${n(sum)}), the sum over ${c.tokens} tokens = ${n(r)}`, value, note: value === r ? `under the cap ${n(cap)}` : "capped or masked" };
  };

  /** The rows of a token: what each term is, how it came about, and what it is. `mean`: of the group's rewards. */
  const rows = (settings, c, i, mean) => {
    if (c.train_logprob === null || !known(c.advantage)) return null;
    const scale = known(c.scale) ? c.scale : 1;
    const whole = advantage(c, i), weight = weightRow(settings, c, i), mask = at(c.loss_mask, i) ?? 1;
    const straight = `(${n(c.reward)} \u2212 ${bracket(c.baseline)}) / ${n(scale)}`;
    const first = Math.abs((c.reward - c.baseline) / scale - c.advantage) <= 1e-4 * Math.max(1, Math.abs(c.advantage));
    const found = [
      rewardRow(settings, c),
      { name: "baseline", sum: "", value: c.baseline, note: baselineNote(settings, c, mean) },
      { name: "scale", sum: "", value: scale, note: SCALES[settings.scale] ?? "" },
      { name: "advantage of the completion", sum: first ? straight : n(c.advantage), value: c.advantage, note: "(reward \u2212 baseline) / scale" },
      bonusRow(settings, c, i),
      { name: "advantage of this token", sum: `${n(c.advantage)} + ${bracket(bonus(c, i))}`, value: whole, note: "as it entered the loss" },
      weight,
      { name: "mask", sum: "", value: mask, note: mask ? "counts in the loss" : "left out of the loss" },
      {
        name: "pull on this token", sum: `${n(whole)} \u00d7 ${n(weight.value)} \u00d7 ${n(mask)}`, value: whole * weight.value * mask,
        note: "what its log-probability is weighed with, before clipping and the mean over tokens",
      },
    ];
    const rest = whole - c.advantage - bonus(c, i);
    if (Math.abs(rest) > 1e-4 * Math.max(1, Math.abs(whole))) {
      found[5].sum += ` + ${bracket(rest)}`;
      found[5].note = "the last term is recorded and not explained by the other columns";
    }
    return found;
  };

  return { at, known, drift, advantage, ratio, rewards, rows };
})();
