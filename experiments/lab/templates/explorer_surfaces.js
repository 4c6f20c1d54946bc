// Functions of two variables: value, gradient [x, y] and Hessian [xx, xy, yy].
//
// The formulas of `jaxopt_course.problems`, under the names of the problems there; the derivatives
// are written out. Windows and known stationary points come with the page, from the library.
"use strict";

const SURFACES = {
  "nesterov-saddle": {
    value: (x, y) => (x * x) / 2 + (y * y * (y * y - 2)) / 4,
    gradient: (x, y) => [x, y * y * y - y],
    hessian: (_x, y) => [1, 0, 3 * y * y - 1],
  },
  "hyperbolic-saddle": {
    value: (x, y) => x * x - y * y,
    gradient: (x, y) => [2 * x, -2 * y],
    hessian: () => [2, 0, -2],
  },
  "quadratic-2": {
    value: (x, y) => (25 * x * x + y * y) / 2,
    gradient: (x, y) => [25 * x, y],
    hessian: () => [25, 0, 1],
  },
  rosenbrock: {
    value: (x, y) => (1 - x) ** 2 + 100 * (y - x * x) ** 2,
    gradient: (x, y) => [-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)],
    hessian: (x, y) => [2 + 1200 * x * x - 400 * y, -400 * x, 200],
  },
  "hyperbola-valley": {
    value: (x, y) => (x * y - 1) ** 2,
    gradient: (x, y) => [2 * y * (x * y - 1), 2 * x * (x * y - 1)],
    hessian: (x, y) => [2 * y * y, 4 * x * y - 2, 2 * x * x],
  },
  himmelblau: {
    value: (x, y) => (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2,
    gradient: (x, y) => {
      const first = x * x + y - 11;
      const second = x + y * y - 7;
      return [4 * x * first + 2 * second, 2 * first + 4 * y * second];
    },
    hessian: (x, y) => [12 * x * x + 4 * y - 42, 4 * (x + y), 12 * y * y + 4 * x - 26],
  },
  "six-hump-camel": {
    value: (x, y) =>
      x * x * (4 + x * x * ((x * x) / 3 - 2.1)) + x * y + 4 * y * y * (y * y - 1),
    gradient: (x, y) => [x * (8 + x * x * (2 * x * x - 8.4)) + y, x + y * (16 * y * y - 8)],
    hessian: (x, y) => [8 - 25.2 * x * x + 10 * x ** 4, 1, 48 * y * y - 8],
  },
  "mueller-brown": muellerBrown(),
  "octopus-2": octopus(1.5, 1, Math.E),
  "monkey-saddle": {
    value: (x, y) => x * (x * x - 3 * y * y),
    gradient: (x, y) => [3 * (x * x - y * y), -6 * x * y],
    hessian: (x, y) => [6 * x, -6 * y, -6 * x],
  },
  "quartic-bowl": {
    value: (x, y) => x ** 4 + y ** 4,
    gradient: (x, y) => [4 * x ** 3, 4 * y ** 3],
    hessian: (x, y) => [12 * x * x, 0, 12 * y * y],
  },
  "cuspidal-saddle": {
    value: (x, y) => y * y + x ** 3,
    gradient: (x, y) => [3 * x * x, 2 * y],
    hessian: (x) => [6 * x, 0, 2],
  },
};

// sum_k height_k exp(xx_k dx^2 + xy_k dx dy + yy_k dy^2)
function muellerBrown() {
  const wells = [
    { height: -200, xx: -1, xy: 0, yy: -10, x: 1, y: 0 },
    { height: -100, xx: -1, xy: 0, yy: -10, x: 0, y: 0.5 },
    { height: -170, xx: -6.5, xy: 11, yy: -6.5, x: -0.5, y: 1.5 },
    { height: 15, xx: 0.7, xy: 0.6, yy: 0.7, x: -1, y: 1 },
  ];
  const terms = (x, y) =>
    wells.map(({ height, xx, xy, yy, x: centerX, y: centerY }) => {
      const dx = x - centerX;
      const dy = y - centerY;
      const value = height * Math.exp(xx * dx * dx + xy * dx * dy + yy * dy * dy);
      return { value, xx, xy, yy, slopeX: 2 * xx * dx + xy * dy, slopeY: xy * dx + 2 * yy * dy };
    });
  const sum = (x, y, of) => terms(x, y).reduce((total, term) => total + term.value * of(term), 0);
  return {
    value: (x, y) => sum(x, y, () => 1),
    gradient: (x, y) => [sum(x, y, (t) => t.slopeX), sum(x, y, (t) => t.slopeY)],
    hessian: (x, y) => [
      sum(x, y, (t) => t.slopeX * t.slopeX + 2 * t.xx),
      sum(x, y, (t) => t.slopeX * t.slopeY + t.xy),
      sum(x, y, (t) => t.slopeY * t.slopeY + 2 * t.yy),
    ],
  };
}

// What unlocking changes along one coordinate of the octopus, and the switch that unlocks the next,
// each with two derivatives, see jaxopt_course/problems/_octopus.py.
function arm(attraction, repulsion, tau) {
  const stepHeight = (tau ** 2 * (37 * attraction + 13 * repulsion)) / 6;
  const cubic = (10 * repulsion - 14 * attraction) / (3 * tau);
  const quartic = (5 * attraction - 3 * repulsion) / (2 * tau ** 2);
  const total = attraction + repulsion;

  const change = (x) => {
    const a = Math.abs(x);
    const sign = Math.sign(x);
    if (a >= 2 * tau) {
      const value = 16 * attraction * tau ** 2 - stepHeight - 8 * attraction * tau * a;
      return [value, -8 * attraction * tau * sign, 0];
    }
    const w = Math.max(a - tau, 0);
    return [
      -total * x * x + w ** 3 * (cubic + quartic * w),
      -2 * total * x + sign * w * w * (3 * cubic + 4 * quartic * w),
      -2 * total + w * (6 * cubic + 12 * quartic * w),
    ];
  };
  const unlock = (x) => {
    const u = Math.min(Math.max((Math.abs(x) - tau) / tau, 0), 1);
    return [
      u ** 3 * (10 + u * (6 * u - 15)),
      (30 / tau) * Math.sign(x) * (u * (1 - u)) ** 2,
      (60 / tau ** 2) * u * (1 - u) * (1 - 2 * u),
    ];
  };
  return { change, unlock };
}

// L (x^2 + y^2) + change(x) + s(x) change(y)
function octopus(attraction, repulsion, tau) {
  const { change, unlock } = arm(attraction, repulsion, tau);
  return {
    value: (x, y) => attraction * (x * x + y * y) + change(x)[0] + unlock(x)[0] * change(y)[0],
    gradient: (x, y) => [
      2 * attraction * x + change(x)[1] + unlock(x)[1] * change(y)[0],
      2 * attraction * y + unlock(x)[0] * change(y)[1],
    ],
    hessian: (x, y) => [
      2 * attraction + change(x)[2] + unlock(x)[2] * change(y)[0],
      unlock(x)[1] * change(y)[1],
      2 * attraction + unlock(x)[0] * change(y)[2],
    ],
  };
}
