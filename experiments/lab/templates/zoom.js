// Figures that can be enlarged and moved, by mouse, finger and keyboard.
//
// The picture gets wider than its frame, and the frame scrolls: fingers and arrow keys move it as
// they move any page, and lines and letters of an SVG image stay sharp. Without this script the figure is
// shown whole. Where that would be too small to read, as on a phone, it starts larger.
"use strict";

const LARGEST = 16;
const LEGIBLE = 0.75; // share of a figure's own size at which its letters can still be read

document.querySelectorAll(".zoom").forEach((frame) => {
  const picture = frame.querySelector("img");
  const said = frame.parentElement.querySelector("output");
  const ownWidth = Number(picture.getAttribute("width"));
  let scale = 1; // width of the picture in widths of the frame
  let dragged = null;

  // What is at these shares of the frame stays there.
  function show(wanted, shareX = 0.5, shareY = 0.5) {
    const box = frame.getBoundingClientRect();
    const place = [box.x + shareX * frame.clientWidth, box.y + shareY * frame.clientHeight];
    const before = picture.getBoundingClientRect();
    const shares = [(place[0] - before.x) / before.width, (place[1] - before.y) / before.height];
    scale = Math.max(1, Math.min(LARGEST, wanted));
    picture.style.width = `${100 * scale}%`;
    const after = picture.getBoundingClientRect();
    frame.scrollLeft += after.x + shares[0] * after.width - place[0];
    frame.scrollTop += after.y + shares[1] * after.height - place[1];
    frame.classList.toggle("close", scale > 1);
    said.textContent = `${Math.round(100 * scale)} %`;
  }
  const actions = {
    "+": () => show(1.5 * scale), "=": () => show(1.5 * scale), "-": () => show(scale / 1.5),
    0: () => show(1),
  };
  frame.addEventListener("keydown", (event) => {
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    action();
  });
  frame.parentElement.querySelectorAll("button").forEach((button) => {
    button.addEventListener("click", actions[button.value]);
  });
  const sharesOf = (event) => {
    const box = frame.getBoundingClientRect();
    return [(event.clientX - box.x) / box.width, (event.clientY - box.y) / box.height];
  };
  frame.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    show(event.deltaY < 0 ? 1.2 * scale : scale / 1.2, ...sharesOf(event));
  }, { passive: false });
  frame.addEventListener("dblclick", (event) => show(2 * scale, ...sharesOf(event)));
  // A finger scrolls the frame by itself.
  frame.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse" || scale === 1) return;
    dragged = [event.clientX, event.clientY];
    frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => {
    if (!dragged) return;
    frame.scrollBy(dragged[0] - event.clientX, dragged[1] - event.clientY);
    dragged = [event.clientX, event.clientY];
  });
  ["pointerup", "pointercancel"].forEach((end) =>
    frame.addEventListener(end, () => (dragged = null)));

  show((LEGIBLE * ownWidth) / frame.clientWidth, 0, 0);
});
