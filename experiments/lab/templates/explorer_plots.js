// Drawing: contour lines with paths, and values against steps, as SVG.
//
// Rules differ in colour, dashes and a short name at the end of their path; contour lines are the
// stronger the lower they lie, in either scheme. Colours come from the style sheet, so that they follow its scheme.
"use strict";

const WIDTH = 420;
const MARGIN = { left: 44, right: 12, top: 20, bottom: 34 };
const GRID = 90;
const LEVELS = 22;

function svgElement(tag, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  element.textContent = text;
  return element;
}

// A plot's frame: how numbers become places, and back.
function makeFrame([[xLow, xHigh], [yLow, yHigh]], height) {
  const innerWidth = WIDTH - MARGIN.left - MARGIN.right;
  const innerHeight = height - MARGIN.top - MARGIN.bottom;
  return {
    height, xLow, xHigh, yLow, yHigh,
    toX: (x) => MARGIN.left + ((x - xLow) / (xHigh - xLow)) * innerWidth,
    toY: (y) => MARGIN.top + ((yHigh - y) / (yHigh - yLow)) * innerHeight,
    fromX: (place) => xLow + ((place - MARGIN.left) / innerWidth) * (xHigh - xLow),
    fromY: (place) => yHigh - ((place - MARGIN.top) / innerHeight) * (yHigh - yLow),
  };
}

// Both axes of a surface have the same scale.
function surfaceFrame(window) {
  const [[xLow, xHigh], [yLow, yHigh]] = window;
  const innerWidth = WIDTH - MARGIN.left - MARGIN.right;
  const innerHeight = (innerWidth * (yHigh - yLow)) / (xHigh - xLow);
  return makeFrame(window, innerHeight + MARGIN.top + MARGIN.bottom);
}

function ticks(low, high, most = 6) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((candidate) => candidate >= rough);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

function drawAxes(frame, xLabel, yLabel, yText = shortNumber) {
  const group = svgElement("g", { class: "axes" });
  const bottom = frame.toY(frame.yLow);
  const line = (x1, y1, x2, y2) => group.append(svgElement("line", { x1, y1, x2, y2 }));
  const text = (x, y, anchor, content) =>
    group.append(svgElement("text", { x, y, "text-anchor": anchor }, content));
  line(MARGIN.left, bottom, WIDTH - MARGIN.right, bottom);
  line(MARGIN.left, bottom, MARGIN.left, MARGIN.top);
  ticks(frame.xLow, frame.xHigh).forEach((x) => {
    line(frame.toX(x), bottom, frame.toX(x), bottom + 4);
    const near = frame.toX(x) > WIDTH - 18; // A long number would be cut off.
    text(near ? WIDTH - 1 : frame.toX(x), bottom + 15, near ? "end" : "middle", shortNumber(x));
  });
  ticks(frame.yLow, frame.yHigh).forEach((y) => {
    line(MARGIN.left - 4, frame.toY(y), MARGIN.left, frame.toY(y));
    text(MARGIN.left - 6, frame.toY(y) + 4, "end", yText(y));
  });
  text((MARGIN.left + WIDTH) / 2, frame.height - 4, "middle", xLabel);
  text(4, 12, "start", yLabel);
  return group;
}

function shortNumber(value) {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size < 1e-14) return "0";
  return size >= 1e4 || size < 1e-3 ? value.toExponential(1) : String(+value.toPrecision(4));
}

// Contour lines by marching squares, at quantiles of the values on the grid.
function drawContours(surface, frame) {
  const at = (low, high, i) => low + ((high - low) * i) / GRID;
  const values = Array.from({ length: GRID + 1 }, (_, j) =>
    Array.from({ length: GRID + 1 }, (_, i) =>
      surface.value(at(frame.xLow, frame.xHigh, i), at(frame.yLow, frame.yHigh, j))));
  const sorted = values.flat().sort((a, b) => a - b);
  const group = svgElement("g", { class: "contours" });
  for (let k = 1; k <= LEVELS; k++) {
    const level = sorted[Math.floor((sorted.length * (k - 0.5)) / LEVELS)];
    const place = ([i, j]) =>
      `${frame.toX(at(frame.xLow, frame.xHigh, i)).toFixed(1)} ` +
      frame.toY(at(frame.yLow, frame.yHigh, j)).toFixed(1);
    const d = contour(values, level).map(([a, b]) => `M${place(a)}L${place(b)}`).join("");
    group.append(svgElement("path", { d, opacity: (1 - 0.8 * (k / LEVELS)).toFixed(2) }));
  }
  return group;
}

// Segments of one contour line, in units of the grid: where it crosses the edges of each cell.
function contour(values, level) {
  const segments = [];
  const corners = [[0, 0], [1, 0], [1, 1], [0, 1]];
  for (let j = 0; j < GRID; j++) {
    for (let i = 0; i < GRID; i++) {
      const crossings = [];
      corners.forEach(([di, dj], k) => {
        const [ei, ej] = corners[(k + 1) % 4];
        const here = values[j + dj][i + di] - level;
        const there = values[j + ej][i + ei] - level;
        if (here < 0 === there < 0) return;
        const share = here / (here - there);
        crossings.push([i + di + share * (ei - di), j + dj + share * (ej - dj)]);
      });
      for (let k = 0; k + 1 < crossings.length; k += 2) {
        segments.push([crossings[k], crossings[k + 1]]);
      }
    }
  }
  return segments;
}

const SYMBOLS = {
  MINIMUM: "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0",
  MAXIMUM: "M-5 4L0 -5L5 4Z",
  STRICT_SADDLE: "M-5 -5L5 5M-5 5L5 -5",
  NON_STRICT_SADDLE: "M-5 -5L5 5M-5 5L5 -5M-6 0L6 0",
};

function drawKnownPoints(points, frame) {
  const group = svgElement("g", { class: "known" });
  points.forEach(({ x, y, kind }) => {
    const transform = `translate(${frame.toX(x)} ${frame.toY(y)})`;
    group.append(svgElement("path", { d: SYMBOLS[kind], transform }));
  });
  return group;
}

// The polyline of a run up to a step, its end, and its name. The names of all runs stand in a ring
// around their ends, so that rules that meet do not cover each other, and within the frame.
function drawPath(result, index, count, frame, upTo) {
  const clamp = (place, low = -2000, high = 2000) => Math.max(low, Math.min(high, place));
  const shown = result.points.slice(0, upTo + 1).filter((point) => point.every(Number.isFinite));
  const places = shown.map(([x, y]) =>
    [clamp(frame.toX(x)), clamp(frame.toY(y))].map((place) => place.toFixed(2)));
  const line = svgElement("g", { class: `rule ${result.rule}` });
  line.append(svgElement("path", { d: `M${places.map((place) => place.join(" ")).join("L")}` }));
  const [x, y] = places.at(-1).map(Number);
  line.append(svgElement("circle", { cx: x, cy: y, r: 3.5 }));
  const angle = (2 * Math.PI * index) / count - Math.PI / 2;
  const radius = Math.max(20, 5 * count);
  const label = svgElement("g", { class: `rule ${result.rule}` });
  label.append(svgElement("text", {
    x: clamp(x + 1.2 * radius * Math.cos(angle), MARGIN.left + 20, WIDTH - MARGIN.right - 20),
    y: clamp(y + radius * Math.sin(angle) + 4, MARGIN.top + 10, frame.height - MARGIN.bottom - 4),
    "text-anchor": "middle",
  }, RULES[result.rule].short));
  return { line, label };
}

function drawValues(results, minimum, upTo, yLabel) {
  const heights = (result) => result.values.map((value) =>
    minimum === null ? value : Math.log10(Math.max(value - minimum, 1e-16)));
  const all = results.flatMap(heights).filter(Number.isFinite);
  const start = results.length ? heights(results[0])[0] : 0;
  // A run that diverges would press all others flat.
  const span = minimum === null ? 10 * (1 + Math.abs(start)) : 4;
  let low = Math.max(Math.min(...all, start), minimum === null ? start - span : -17);
  let high = Math.min(Math.max(...all, start), start + span);
  if (high - low < 1e-9) [low, high] = [low - 1, high + 1];
  const last = Math.max(1, ...results.map((result) => result.values.length - 1));
  const frame = makeFrame([[0, last], [low, high]], 260);
  const yText = (y) => (minimum === null ? shortNumber(y) : `1e${+y.toFixed(2)}`);
  const lines = results.map((result) => {
    const clamp = (place) => Math.max(-50, Math.min(frame.height + 50, place));
    const places = heights(result).slice(0, upTo + 1)
      .map((value, t) => [frame.toX(t), clamp(frame.toY(value))])
      .filter((place) => place.every(Number.isFinite))
      .map((place) => place.map((number) => number.toFixed(1)).join(" "));
    const group = svgElement("g", { class: `rule ${result.rule}` });
    group.append(svgElement("path", { d: `M${places.join("L")}` }));
    return group;
  });
  return { frame, parts: [...lines, drawAxes(frame, "step", yLabel, yText)] };
}
