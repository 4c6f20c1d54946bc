// Escape times on the octopus of any number of coordinates: runs, and when they left each saddle.
//
// The setting is that of the experiment `escape`: starts uniform in [-1, 1]^d, step size
// 1 / (4 attraction), noise from the ball of radius tau / 100 where the gradient is no larger than
// repulsion tau / 100.
"use strict";

const OCTOPUS = { attraction: 1.5, repulsion: 1, tau: Math.E };

// The octopus, as the module's docstring of jaxopt_course/problems/_octopus.py defines it.
function manyArmed({ attraction, repulsion, tau }) {
  const { change, unlock } = arm(attraction, repulsion, tau);
  return {
    value: (x) => x.reduce((total, xk, k) => total + attraction * xk * xk
      + (k ? unlock(x[k - 1])[0] : 1) * change(xk)[0], 0),
    gradient: (x) => {
      const changes = x.map(change);
      const unlocks = x.map(unlock);
      return x.map((xk, k) => 2 * attraction * xk
        + (k ? unlocks[k - 1][0] : 1) * changes[k][1]
        + (k + 1 < x.length ? unlocks[k][1] * changes[k + 1][0] : 0));
    },
  };
}

// The step at which a run left each saddle, that is |x_k| > 2 tau for the first time; null if it
// did not within `steps`. `noise(n)` is the n-th perturbation; without, plain gradient descent.
function exitsOf(start, steps, noise = null, { attraction, repulsion, tau } = OCTOPUS) {
  const { gradient } = manyArmed({ attraction, repulsion, tau });
  const rate = 1 / (4 * attraction);
  const exits = start.map(() => null);
  let point = start;
  let [sinceLast, number] = [Infinity, 0];
  for (let t = 1; t <= steps && exits.includes(null); t++) {
    const g = gradient(point);
    point = point.map((xk, k) => xk - rate * g[k]);
    sinceLast += 1;
    if (noise && Math.hypot(...g) <= (repulsion * tau) / 100 && sinceLast > 2) {
      const xi = noise(number++);
      point = point.map((xk, k) => xk + (tau / 100) * xi[k]);
      sinceLast = 1;
    }
    point.forEach((xk, k) => {
      if (exits[k] === null && Math.abs(xk) > 2 * tau) exits[k] = t;
    });
  }
  return exits;
}

// Uniform numbers one after the other, by the hash of `seededNoise`.
function uniformNumbers(seed) {
  let n = 0;
  return () => {
    let z = (Math.imul(seed, 0x85ebca6b) + Math.imul(++n, 0x9e3779b9)) | 0;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
}

// A point of the unit ball, uniformly: a normal vector's direction, and a radius.
function inBall(uniform, dimension) {
  const normal = () =>
    Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  const direction = Array.from({ length: dimension }, normal);
  const radius = uniform() ** (1 / dimension) / Math.hypot(...direction);
  return direction.map((value) => radius * value);
}

// When the runs of both methods, from the same starts, left each saddle.
function raceOnOctopus(dimension, runs, steps, seed) {
  const uniform = uniformNumbers(seed);
  const race = { gradient_descent: [], perturbed_gradient_descent: [] };
  for (let r = 0; r < runs; r++) {
    const start = Array.from({ length: dimension }, () => 2 * uniform() - 1);
    race.gradient_descent.push(exitsOf(start, steps));
    const noise = () => inBall(uniform, dimension);
    race.perturbed_gradient_descent.push(exitsOf(start, steps, noise));
  }
  return race;
}
