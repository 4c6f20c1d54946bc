// The panel of escape times: how many runs have left each saddle by each step.
"use strict";

function drawRace(race, dimension, runs, steps) {
  const frame = makeFrame([[0, steps], [0, 1]], 260);
  const lines = Object.entries(race).flatMap(([rule, exits]) =>
    Array.from({ length: dimension }, (_, k) => {
      const times = exits.map((exit) => exit[k]).filter((t) => t !== null).sort((a, b) => a - b);
      let d = `M${frame.toX(0)} ${frame.toY(0)}`;
      times.forEach((t, i) => {
        d += `H${frame.toX(t).toFixed(1)}V${frame.toY((i + 1) / runs).toFixed(1)}`;
      });
      d += `H${frame.toX(steps)}`;
      const group = svgElement("g", { class: `rule ${rule} ${k + 1 < dimension ? "before" : ""}` });
      group.append(svgElement("path", { d }));
      return group;
    }));
  return { frame, parts: [...lines, drawAxes(frame, "step", "share of runs that have left")] };
}

// Median step of an exit, or null if fewer than half of the runs have left.
function medianExit(exits, k) {
  const times = exits.map((exit) => exit[k] ?? Infinity).sort((a, b) => a - b);
  const middle = times[Math.floor((times.length - 1) / 2)];
  return Number.isFinite(middle) ? middle : null;
}

function showRace() {
  const [dimension, runs, steps] = ["race-dimension", "race-runs", "race-steps"].map(number);
  if ([dimension, runs, steps].includes(null)) {
    byId("race-status").textContent = "A field is empty or out of its range.";
    return;
  }
  const seed = number("seed") ?? 0;
  const race = raceOnOctopus(dimension, runs, steps, seed);
  const { frame, parts } = drawRace(race, dimension, runs, steps);
  byId("race").setAttribute("viewBox", `0 0 ${WIDTH} ${frame.height}`);
  byId("race-lines").replaceChildren(...parts);
  const rows = Array.from({ length: dimension }, (_, k) => {
    const row = document.createElement("tr");
    const heading = document.createElement("th");
    heading.scope = "row";
    heading.textContent = `Saddle ${k + 1}`;
    const medians = Object.values(race).map((exits) => {
      const cell = document.createElement("td");
      cell.textContent = medianExit(exits, k) ?? `not within ${steps}`;
      return cell;
    });
    row.append(heading, ...medians);
    return row;
  });
  byId("race-medians").replaceChildren(...rows);
  const through = Object.entries(race).map(([rule, exits]) =>
    `${RULES[rule].name}: ${exits.filter((exit) => exit.at(-1) !== null).length} of ${runs}`);
  byId("race-status").textContent = `Runs at a minimum after ${steps} steps. ${through.join("; ")}.`;
}

byId("race-form").addEventListener("submit", (event) => event.preventDefault());
byId("race-form").addEventListener("change", showRace);
byId("seed").addEventListener("change", showRace);
showRace();
