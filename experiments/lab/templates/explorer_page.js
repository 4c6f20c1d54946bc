// The page: reads the controls, runs the rules, shows what came out.
"use strict";

const KINDS = {
  NOT_STATIONARY: "not stationary",
  MINIMUM: "minimum",
  MAXIMUM: "maximum",
  STRICT_SADDLE: "strict saddle",
  NON_STRICT_SADDLE: "saddle, not strict",
  DEGENERATE: "degenerate: the Hessian does not decide",
};
const byId = (id) => document.getElementById(id);
const described = JSON.parse(byId("surfaces").textContent);
const number = (id) => {
  const input = byId(id);
  return input.validity.valid && input.value !== "" ? input.valueAsNumber : null;
};
let results = [];

const chosen = () => described[byId("surface").selectedIndex];

function option(text, value) {
  return Object.assign(document.createElement("option"), { textContent: text, value });
}

function fillControls() {
  byId("surface").append(...described.map(({ id, title }) => option(title, id)));
  Object.entries(RULES).forEach(([rule, { name, short, uses }], index) => {
    const row = byId("rule-row").content.firstElementChild.cloneNode(true);
    const [box, rate] = row.querySelectorAll("input");
    const [label] = row.querySelectorAll("label");
    box.id = `on-${rule}`;
    label.htmlFor = box.id;
    label.append(`${name}${short === name ? "" : ` (${short})`}${uses ? `, uses ${uses}` : ""}`);
    box.checked = ["gradient_descent", "heavy_ball", "adam"].includes(rule) || index === 8;
    row.querySelector("svg").classList.add(rule);
    rate.id = `rate-${rule}`;
    rate.setAttribute("aria-label", `Step size of ${name}`);
    byId("rules").append(row);
  });
}

// What depends on the surface: formula, known points, start and step sizes.
function showSurface() {
  const { formula, points, rates, start } = chosen();
  byId("formula").textContent = `f(x, y) = ${formula}`;
  const known = points.map(({ x, y, kind }, i) =>
    option(`${KINDS[kind]} at (${shortNumber(x)}, ${shortNumber(y)})`, i));
  byId("known").replaceChildren(option("choose one", ""), ...known);
  Object.entries(rates).forEach(([rule, rate]) => (byId(`rate-${rule}`).value = rate));
  byId("factor").value = 0;
  setStart(...start);
  const frame = surfaceFrame(chosen().window);
  byId("plot").setAttribute("viewBox", `0 0 ${WIDTH} ${frame.height}`);
  byId("landscape").replaceChildren(
    drawContours(SURFACES[chosen().id], frame),
    drawAxes(frame, "x", "y"),
    drawKnownPoints(points, frame),
  );
  const clip = { x: MARGIN.left, y: MARGIN.top, width: WIDTH - MARGIN.left - MARGIN.right };
  const height = frame.height - MARGIN.top - MARGIN.bottom;
  byId("window").replaceChildren(svgElement("rect", { ...clip, height }));
}

function setStart(x, y) {
  byId("start-x").value = +x.toPrecision(6);
  byId("start-y").value = +y.toPrecision(6);
}

// The settings of all rules, or null where one of the fields is empty or wrong.
function readSettings() {
  const names = ["momentum", "noise", "threshold", "interval", "steps", "tolerance", "seed"];
  const settings = Object.fromEntries(names.map((name) => [name, number(name)]));
  settings.start = [number("start-x"), number("start-y")];
  const complete = [...Object.values(settings).flat()].every((value) => value !== null);
  return complete ? { ...settings, draw: seededNoise(settings.seed) } : null;
}

// What is chosen, as the address says it: shared paths open where they were.
const FIELDS = [
  "start-x", "start-y", "factor", "momentum", "noise", "threshold", "interval", "steps",
  "tolerance", "seed",
];

function writeAddress() {
  const parts = [["surface", chosen().id], ...FIELDS.map((id) => [id, byId(id).value])];
  const rules = Object.keys(RULES).filter((rule) => byId(`on-${rule}`).checked);
  parts.push(...rules.map((rule) => [rule, byId(`rate-${rule}`).value]));
  history.replaceState(null, "", `#${new URLSearchParams(parts)}`);
}

function readAddress() {
  const said = new URLSearchParams(location.hash.slice(1));
  const index = described.findIndex(({ id }) => id === said.get("surface"));
  if (index < 0) return;
  byId("surface").selectedIndex = index;
  showSurface();
  FIELDS.filter((id) => said.has(id)).forEach((id) => (byId(id).value = said.get(id)));
  Object.keys(RULES).forEach((rule) => {
    byId(`on-${rule}`).checked = said.has(rule);
    if (said.has(rule)) byId(`rate-${rule}`).value = said.get(rule);
  });
}

function compute() {
  const settings = readSettings();
  if (settings === null) {
    byId("status").textContent = "A field is empty or out of its range.";
    return;
  }
  const factor = 2 ** number("factor");
  byId("factor-value").textContent = `× ${shortNumber(factor)}`;
  const surface = SURFACES[chosen().id];
  results = Object.keys(RULES)
    .map((rule) => ({ rule, rate: number(`rate-${rule}`) }))
    .filter(({ rule, rate }) => byId(`on-${rule}`).checked && rate !== null)
    .map(({ rule, rate }) => {
      const result = run(surface, RULES[rule], settings.start, { ...settings, rate: rate * factor });
      const point = classify(surface, result.returned, settings.tolerance);
      return { ...result, rule, end: point };
    });
  byId("shown").max = settings.steps;
  byId("shown").value = settings.steps;
  draw();
  showResults();
  writeAddress();
}

function draw() {
  const { window, minimum, points } = chosen();
  const frame = surfaceFrame(window);
  const upTo = number("shown");
  byId("shown-value").textContent = upTo;
  const start = [number("start-x"), number("start-y")];
  const marker = svgElement("rect", {
    class: "start", x: frame.toX(start[0]) - 5, y: frame.toY(start[1]) - 5, width: 10, height: 10,
  });
  const paths = results.map((result, index) =>
    drawPath(result, index, results.length, frame, upTo));
  byId("paths").replaceChildren(
    ...paths.map(({ line }) => line), marker, ...paths.map(({ label }) => label),
  );
  const yLabel = minimum === null ? "f" : minimum === 0 ? "f" : "f − minimum";
  const values = drawValues(results, minimum, upTo, yLabel);
  byId("values").setAttribute("viewBox", `0 0 ${WIDTH} ${values.frame.height}`);
  byId("values-lines").replaceChildren(...values.parts);
  const names = results.map(({ rule }) => RULES[rule].name).join(", ") || "no rule";
  const known = points.map(({ kind }) => KINDS[kind]).join(", ");
  byId("plot-title").textContent =
    `Contour lines of ${chosen().title}; marked: ${known}; paths of ${names}.`;
  byId("values-title").textContent = `Values against steps: ${names}.`;
}

function outcome({ diverged, end }) {
  return diverged ? "left every bound" : KINDS[end.kind];
}

function showResults() {
  const rows = results.map((result) => {
    const row = document.createElement("tr");
    const coordinates = result.returned.map(shortNumber).join(", ");
    const cells = [
      ["Rule", RULES[result.rule].name],
      ["Ends at", `(${coordinates})`],
      ["f", shortNumber(result.values[result.points.indexOf(result.returned)])],
      ["Gradient norm", shortNumber(result.end.gradientNorm)],
      ["Hessian's eigenvalues", result.end.eigenvalues.map(shortNumber).join(", ")],
      ["Kind", outcome(result)],
    ];
    cells.forEach(([heading, text], i) => {
      const cell = document.createElement(i ? "td" : "th");
      if (i === 0) cell.scope = "row";
      cell.setAttribute("role", i ? "cell" : "rowheader");
      cell.dataset.heading = heading;
      cell.textContent = text;
      row.append(cell);
    });
    row.setAttribute("role", "row");
    return row;
  });
  byId("results").replaceChildren(...rows);
  const said = results.map((result) => `${RULES[result.rule].name}: ${outcome(result)}`);
  byId("status").textContent = said.join("; ") || "No rule is chosen.";
}

function startAtClick(event) {
  const plot = byId("plot");
  const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(
    plot.getScreenCTM().inverse(),
  );
  const frame = surfaceFrame(chosen().window);
  setStart(frame.fromX(place.x), frame.fromY(place.y));
  compute();
}

function moveByKey(event) {
  const [[xLow, xHigh], [yLow, yHigh]] = chosen().window;
  const directions = {
    ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1],
  };
  const direction = directions[event.key];
  if (!direction) return;
  event.preventDefault();
  const share = event.shiftKey ? 1 / 1000 : 1 / 40;
  setStart(
    number("start-x") + direction[0] * share * (xHigh - xLow),
    number("start-y") + direction[1] * share * (yHigh - yLow),
  );
  compute();
}

function listen() {
  byId("surface").addEventListener("change", () => { showSurface(); compute(); });
  byId("known").addEventListener("change", (event) => {
    if (event.target.value === "") return;
    const { x, y } = chosen().points[event.target.value];
    // All digits: a start exactly at a saddle must not be rounded away from it.
    [byId("start-x").value, byId("start-y").value] = [x, y];
    compute();
  });
  byId("random").addEventListener("click", () => {
    const places = chosen().window.map(([low, high]) => low + Math.random() * (high - low));
    setStart(...places);
    compute();
  });
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("controls").addEventListener("input", (event) => {
    if (event.target.id === "shown") draw();
    else if (!["surface", "known"].includes(event.target.id)) compute();
  });
  byId("plot").addEventListener("click", startAtClick);
  byId("plot").addEventListener("keydown", moveByKey);
  addEventListener("hashchange", () => { readAddress(); compute(); });
}

fillControls();
showSurface();
readAddress();
listen();
compute();
