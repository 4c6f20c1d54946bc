"""The site in a real browser, driven by a script that is put into copies of its pages."""

import html
import json
import re
import shutil
import subprocess

import pytest

from experiments.lab import report

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(not BROWSER, reason="needs Chromium or Chrome"),
]

LISTEN = """<script>
const problems = [];
addEventListener("error", (event) => problems.push(String(event.message)));
addEventListener("unhandledrejection", (event) => problems.push(String(event.reason)));
for (const level of ["error", "warn"]) console[level] = (...all) => problems.push(all.join(" "));
</script>"""
REPORT = """<script>
addEventListener("load", () => {
  const seen = {};
  try { act(seen); } catch (error) { problems.push(String(error)); }
  const requested = performance.getEntriesByType("resource").map(({ name }) => name);
  const root = document.documentElement;
  const outcome = { ...seen, problems, requested, overflow: root.scrollWidth - innerWidth };
  root.dataset.outcome = JSON.stringify(outcome);
});
ACT
</script>"""
NOTHING = "function act() {}"
ZOOM = """
function act(seen) {
  const frame = document.querySelector(".zoom");
  const width = () => frame.querySelector("img").getBoundingClientRect().width;
  const press = (key) => frame.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  seen.frame = frame.clientWidth;
  seen.start = width();
  press("0");
  seen.whole = width();
  press("+");
  seen.close = width();
  seen.moved = [frame.scrollLeft, frame.scrollWidth - frame.clientWidth];
  document.querySelector('button[value="-"]').click();
  seen.again = width();
}"""
EXPLORE = """
function act(seen) {
  const field = (id) => document.getElementById(id);
  const kinds = () => [...field("results").rows].map((row) => row.cells[5].textContent);
  const enter = (id, value, type = "input") => {
    field(id).value = value;
    field(id).dispatchEvent(new Event(type, { bubbles: true }));
  };
  const start = () => [field("start-x").valueAsNumber, field("start-y").valueAsNumber];
  document.querySelectorAll("#rules input[type=checkbox]").forEach((box) => (box.checked = true));
  enter("steps", 2000);
  seen.rules = [...field("results").rows].map((row) => row.cells[0].textContent);
  seen.kinds = kinds();
  enter("known", 0, "change");
  seen.atSaddle = kinds();

  const box = field("plot").getBoundingClientRect();
  const middle = { clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, bubbles: true };
  field("plot").dispatchEvent(new MouseEvent("click", middle));
  seen.clicked = start();
  field("plot").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp", bubbles: true }));
  seen.moved = start();
  enter("shown", 3);
  seen.shown = document.querySelector("#paths path").getAttribute("d").split("L").length;
  enter("momentum", "");
  seen.empty = field("status").textContent;
  enter("momentum", 0.5);

  enter("surface", "himmelblau", "change");
  enter("start-x", 1.25);
  seen.address = location.hash;
  enter("surface", "rosenbrock", "change");
  history.replaceState(null, "", seen.address);
  dispatchEvent(new Event("hashchange"));
  seen.shared = [field("surface").value, field("start-x").value];
  enter("race-dimension", 3, "change");
  seen.race = [field("race-medians").rows.length, field("race-status").textContent];

  seen.surfaces = [...field("surface").options].map(({ value }) => {
    enter("surface", value, "change");
    return [value, document.querySelectorAll(".contours path").length, kinds().length];
  });
}"""


@pytest.fixture
def visit(command, out, tmp_path):
    """Open a page of the site of the toys, act in it, and return what was seen."""
    command("run toy")
    folder = report.write(out, "toys")[0].parent

    def open_page(name, act=NOTHING):
        text = (folder / f"{name}.html").read_text()
        text = text.replace("<head>", f"<head>{LISTEN}", 1)
        path = folder / f"copy-of-{name}.html"
        path.write_text(text.replace("</body>", REPORT.replace("ACT", act) + "</body>"))
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=500,900"]
        flags += ["--virtual-time-budget=20000", f"--user-data-dir={tmp_path / 'profile'}"]
        line = [BROWSER, *flags, "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom"]
        done = subprocess.run(
            [*line, path.as_uri()], capture_output=True, text=True, check=True, timeout=200
        )
        found = re.search(r'data-outcome="(.*?)"', done.stdout)
        return json.loads(html.unescape(found.group(1)))

    return open_page


@pytest.mark.parametrize("name", ["index", "toy", "other", "gallery", "explorer"])
def test_pages_open_without_errors_requests_and_sideways_scrolling(visit, name):
    seen = visit(name)
    assert seen["problems"] == []
    assert seen["requested"] == []
    assert seen["overflow"] <= 0


def test_figures_are_legible_and_zoomed_by_keys_and_buttons(visit):
    seen = visit("toy", ZOOM)
    assert seen["problems"] == []
    # Three quarters of its own 9 inches, which is more than this window has.
    assert seen["start"] == pytest.approx(0.75 * 9 * 96, rel=0.01)
    assert seen["whole"] == pytest.approx(seen["frame"], rel=0.01)
    assert seen["close"] == pytest.approx(1.5 * seen["whole"])
    assert seen["moved"][0] == pytest.approx(seen["moved"][1] / 2, abs=2)
    assert seen["again"] == pytest.approx(seen["whole"])


def test_the_explorers_controls_do_what_they_say(visit):
    seen = visit("explorer", EXPLORE)
    assert seen["problems"] == []
    kinds = dict(zip(seen["rules"], seen["kinds"], strict=True))
    exact = dict(zip(seen["rules"], seen["atSaddle"], strict=True))
    assert len(kinds) == 10
    # From beside the stable manifold of Nesterov's saddle, then from the saddle itself.
    assert kinds["Gradient descent"] == kinds["Perturbed gradient descent"] == "minimum"
    assert kinds["Newton"] == "strict saddle"
    assert exact["Gradient descent"] == exact["Adam"] == "strict saddle"
    assert exact["Perturbed gradient descent"] == "minimum"
    # The middle of the picture is beside that of the window, for the axes' sake.
    assert seen["clicked"] == pytest.approx([-0.132, -0.058], abs=0.01)
    assert seen["moved"] == pytest.approx([seen["clicked"][0], seen["clicked"][1] + 3 / 40])
    assert seen["shown"] == 4
    assert "empty" in seen["empty"]
    assert "surface=himmelblau&start-x=1.25" in seen["address"]
    assert seen["shared"] == ["himmelblau", "1.25"]
    assert seen["race"][0] == 3
    assert "Perturbed gradient descent: 100 of 100" in seen["race"][1]
    assert len(seen["surfaces"]) == 12
    for _, contours, rows in seen["surfaces"]:
        assert contours == 22
        assert rows == 10
