// The update rules, and a run of one of them.
//
// A rule starts from `init`, a state, and `update(g, state, settings, surface, point)` returns the
// step and the new state. Formulas, defaults and the order of operations are those of
// `jaxopt_course.transforms`; squares, roots and quotients of vectors are elementwise.
"use strict";

const ZERO = [0, 0];
const each = (formula, ...vectors) =>
  [0, 1].map((i) => formula(...vectors.map((vector) => vector[i])));
const norm = (vector) => Math.hypot(vector[0], vector[1]);

const RULES = {
  gradient_descent: {
    name: "Gradient descent",
    short: "GD",
    init: null,
    update: (g, _state, { rate }) => [each((gi) => -rate * gi, g), null],
  },
  heavy_ball: {
    name: "Heavy ball",
    short: "HB",
    uses: "momentum",
    init: ZERO,
    update: (g, velocity, { rate, momentum }) => {
      const next = each((vi, gi) => momentum * vi - gi, velocity, g);
      return [each((vi) => rate * vi, next), next];
    },
  },
  nesterov: {
    name: "Nesterov",
    short: "NAG",
    uses: "momentum",
    init: ZERO,
    // The parameters are the look-ahead point, at which the gradient is taken.
    update: (g, velocity, { rate, momentum }) => {
      const next = each((vi, gi) => momentum * vi - rate * gi, velocity, g);
      return [each((vi, gi) => momentum * vi - rate * gi, next, g), next];
    },
  },
  newton: {
    name: "Newton",
    short: "N",
    init: null,
    update: (g, _state, { rate }, surface, point) => {
      const { values, vectors } = eigen(surface.hessian(...point));
      const largest = Math.max(Math.abs(values[0]), Math.abs(values[1]));
      let step = ZERO;
      values.forEach((value, k) => {
        // No step along directions in which the Hessian is singular.
        if (Math.abs(value) <= 2 * Number.EPSILON * largest) return;
        const along = dot(vectors[k], g) / value;
        step = each((si, vi) => si - rate * along * vi, step, vectors[k]);
      });
      return [step, null];
    },
  },
  adagrad: {
    name: "AdaGrad",
    short: "AdaGrad",
    init: ZERO,
    update: (g, old, { rate, eps = 1e-7 }) => {
      const sum = each((gi, si) => gi * gi + si, g, old);
      return [each((gi, si) => (-rate * gi) / Math.sqrt(si + eps), g, sum), sum];
    },
  },
  rmsprop: {
    name: "RMSProp",
    short: "RMS",
    init: ZERO,
    update: (g, old, { rate, decay = 0.9, eps = 1e-8 }) => {
      const nu = each((gi, ni) => (1 - decay) * gi * gi + decay * ni, g, old);
      return [each((gi, ni) => (-rate * gi) / Math.sqrt(ni + eps), g, nu), nu];
    },
  },
  adadelta: {
    name: "AdaDelta",
    short: "AdaDelta",
    init: { squares: ZERO, steps: ZERO },
    update: (g, state, { rate, rho = 0.9, eps = 1e-6 }) => {
      const squares = each((gi, si) => (1 - rho) * gi * gi + rho * si, g, state.squares);
      const step = each(
        (gi, xi, si) => (-Math.sqrt(xi + eps) / Math.sqrt(si + eps)) * gi,
        g, state.steps, squares,
      );
      const steps = each((di, xi) => (1 - rho) * di * di + rho * xi, step, state.steps);
      return [each((di) => rate * di, step), { squares, steps }];
    },
  },
  adam: {
    name: "Adam",
    short: "Adam",
    init: { count: 0, mu: ZERO, nu: ZERO },
    update: (g, state, { rate, b1 = 0.9, b2 = 0.999, eps = 1e-8 }) => {
      const count = state.count + 1;
      const mu = each((gi, mi) => (1 - b1) * gi + b1 * mi, g, state.mu);
      const nu = each((gi, ni) => (1 - b2) * gi * gi + b2 * ni, g, state.nu);
      const step = each((mi, ni) => {
        const root = Math.sqrt(ni / (1 - b2 ** count));
        return ((-rate * mi) / (1 - b1 ** count)) / (root + eps);
      }, mu, nu);
      return [step, { count, mu, nu }];
    },
  },
  perturbed_gradient_descent: {
    name: "Perturbed gradient descent",
    short: "PGD",
    uses: "noise",
    init: { sinceLast: Infinity, number: 0 },
    // Noise from the disc of radius `noise` where the gradient is small and the last noise is more
    // than `interval` steps ago.
    update: (g, { sinceLast, number }, { rate, noise, threshold, interval, draw }) => {
      const step = each((gi) => -rate * gi, g);
      if (norm(g) > threshold || sinceLast <= interval) {
        return [step, { sinceLast: sinceLast + 1, number }];
      }
      const xi = draw(number).inDisc;
      const moved = each((si, ni) => si + noise * ni, step, xi);
      return [moved, { sinceLast: 1, number: number + 1 }];
    },
  },
  noisy_gradient_descent: {
    name: "Noisy gradient descent",
    short: "NGD",
    uses: "noise",
    init: 0,
    // Noise of length `noise`, in units of the gradient, at every step.
    update: (g, count, { rate, noise, draw }) => {
      const n = draw(count).onCircle;
      return [each((gi, ni) => -rate * (gi + noise * ni), g, n), count + 1];
    },
  },
};

// A run's points, values and gradient norms, the start included. It ends early where it leaves
// every bound. `returned` is the point to judge: the last one, or for perturbed gradient descent
// within `interval` steps of noise the one before that noise, as its paper has it.
function run(surface, rule, start, settings) {
  const points = [start];
  const values = [surface.value(...start)];
  const gradientNorms = [norm(surface.gradient(...start))];
  let state = rule.init;
  let beforeNoise = null;
  let diverged = false;
  for (let t = 0; t < settings.steps && !diverged; t++) {
    const point = points[t];
    const [step, next] = rule.update(surface.gradient(...point), state, settings, surface, point);
    if (next?.sinceLast === 1) beforeNoise = point;
    if (next?.sinceLast > settings.interval) beforeNoise = null;
    state = next;
    const moved = each((xi, si) => xi + si, point, step);
    diverged = !(norm(moved) < 1e6);
    points.push(moved);
    values.push(surface.value(...moved));
    gradientNorms.push(norm(surface.gradient(...moved)));
  }
  return { points, values, gradientNorms, diverged, returned: beforeNoise ?? points.at(-1) };
}

// The n-th noise of a seed: two uniform numbers by a hash (splitmix32), made into an angle and a
// radius. Not the bits of `jax.random`: the tests give the library's noise to the rules instead.
function seededNoise(seed) {
  const uniform = (n) => {
    let z = (Math.imul(seed, 0x85ebca6b) + Math.imul(n + 1, 0x9e3779b9)) | 0;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
  return (n) => {
    const angle = 2 * Math.PI * uniform(2 * n);
    const onCircle = [Math.cos(angle), Math.sin(angle)];
    const radius = Math.sqrt(uniform(2 * n + 1));
    return { onCircle, inDisc: each((ci) => radius * ci, onCircle) };
  };
}
