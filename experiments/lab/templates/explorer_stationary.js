// What kind of point a point is, from the gradient and the eigenvalues of the Hessian.
//
// The rule of `jaxopt_course.saddle.classify`: eigenvalues up to sqrt(eps) |H| are zero, and so is
// one that Kantorovich's number does not let one trust, because the point lies too far from the
// stationary point beside it. Here the third derivative is exact but for rounding, there estimated.
"use strict";

const TRUSTED = 0.25;
const dot = (a, b) => a[0] * b[0] + a[1] * b[1];

// Eigenvalues, ascending, and unit eigenvectors of the symmetric matrix [xx, xy, yy].
function eigen([xx, xy, yy]) {
  const mean = (xx + yy) / 2;
  const radius = Math.hypot((xx - yy) / 2, xy);
  const angle = Math.atan2(2 * xy, xx - yy) / 2;
  const large = [Math.cos(angle), Math.sin(angle)];
  const small = [-large[1], large[0]];
  return { values: [mean - radius, mean + radius], vectors: [small, large] };
}

// Frobenius norm of the third derivative, from central differences of the Hessian.
function thirdDerivativeSize(surface, [x, y]) {
  const step = Math.cbrt(Number.EPSILON) * (1 + Math.max(Math.abs(x), Math.abs(y)));
  const slope = (dx, dy) => {
    const ahead = surface.hessian(x + dx, y + dy);
    const behind = surface.hessian(x - dx, y - dy);
    return ahead.map((value, i) => (value - behind[i]) / (2 * step));
  };
  const [xxx, xxy, xyy] = slope(step, 0);
  const yyy = slope(0, step)[2];
  return Math.sqrt(xxx ** 2 + 3 * xxy ** 2 + 3 * xyy ** 2 + yyy ** 2);
}

function classify(surface, point, gradientTolerance) {
  const gradient = surface.gradient(...point);
  const gradientNorm = Math.hypot(...gradient);
  const { values, vectors } = eigen(surface.hessian(...point));
  const sizes = values.map(Math.abs);
  let tolerance = Math.sqrt(Number.EPSILON) * Math.max(...sizes);

  const newtonSteps = values.map((value, i) => dot(vectors[i], gradient) / value);
  const lipschitz = thirdDerivativeSize(surface, point);
  const doubtful = values.map((_, i) => {
    if (sizes[i] <= tolerance) return 0;
    const within = newtonSteps.filter((_, j) => sizes[j] >= sizes[i] && sizes[j] > tolerance);
    const trusted = (lipschitz * Math.hypot(...within)) / sizes[i] <= TRUSTED;
    return trusted ? 0 : sizes[i];
  });
  tolerance = Math.max(tolerance, ...doubtful);

  const negative = values.filter((value) => value < -tolerance).length;
  const positive = values.filter((value) => value > tolerance).length;
  let kind = "DEGENERATE";
  if (!(gradientNorm <= gradientTolerance)) kind = "NOT_STATIONARY";
  else if (negative && positive) kind = "STRICT_SADDLE";
  else if (positive === 2) kind = "MINIMUM";
  else if (negative === 2) kind = "MAXIMUM";
  return { kind, gradientNorm, eigenvalues: values };
}
