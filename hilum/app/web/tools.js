// Mouse and keys. Everything that the mouse does has keys: a cross is moved, and says where.

import { attempt, changed, explained, labelled, moved, plane, refresh, say, session, state, tell, turned, upload, views, whole } from "./page.js";
import { call } from "./server.js";
import { drawn, made } from "./panels.js";

const $ = (id) => document.getElementById(id);

export const TOOLS = [
  { id: "click", title: "Click", key: "C" },
  { id: "box", title: "Box", key: "B" },
  { id: "scribble", title: "Scribble", key: "S" },
  { id: "window", title: "Window", key: "W" },
  { id: "pan", title: "Pan", key: "H" },
  { id: "fit", title: "Fit", key: "0", act: () => fitted() },
  { id: "whole", title: "3-D", key: "V", act: () => whole() },
];

const KEYS = [
  ["C, B, S, W, H", "click, box, scribble, window, pan"],
  ["left button", "inside the object; right button or Shift: outside"],
  ["wheel", "next slice (volumes), zoom (pictures); Ctrl and wheel: zoom"],
  ["arrows", "move the cross; with Shift ten at a time"],
  ["Enter", "click in at the cross; Backspace: click out"],
  ["B, then B again", "box from the cross to the cross"],
  ["S, move, S again", "scribble along the cross; Shift S: outside"],
  ["PageUp, PageDown", "slices; 1, 2, 3: the three directions"],
  ["I, K, J, L", "window: level up and down, narrower, wider"],
  ["+, −, 0", "zoom in, out, fit"],
  ["N", "a new object"],
  ["Z, Y", "undo, redo"],
  ["U, E, V", "uncertainty, where it looked, three planes and the volume"],
  ["T, ?", "light or dark, these keys"],
];

let drag = null; // {view, tool, from, at, inside, pixels}
let held = null; // by the keyboard: {tool: "box" | "scribble", at, inside}

function fitted() {
  views.forEach((view) => {
    view.fit();
    view.draw();
  });
}

function place(event, view) {
  const box = view.canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function pressed(event, view) {
  if (!state.image) return;
  view.canvas.focus();
  const at = place(event, view);
  const pixel = view.at(...at);
  const inside = event.button !== 2 && !event.shiftKey;
  const tool = event.button === 1 ? "pan" : state.tool;
  if (!pixel && tool !== "pan" && tool !== "window") return;
  if (pixel) state.cross = padded(plane().voxel(pixel));
  drag = { view, tool, from: at, at, inside, pixels: pixel ? [pixel] : [], window: window_() };
  view.canvas.setPointerCapture(event.pointerId);
  event.preventDefault();
}

const padded = (voxel) => (voxel.length === 2 ? [...voxel, 0] : voxel);
const window_ = () => state.window ?? [state.image.window.low, state.image.window.high];

function dragged(event, view) {
  if (!drag || drag.view !== view) return;
  const at = place(event, view);
  const pixel = view.at(...at);
  if (drag.tool === "pan") {
    views.forEach((each) => {
      each.shift = [each.shift[0] + at[0] - drag.at[0], each.shift[1] + at[1] - drag.at[1]];
      each.draw();
    });
  } else if (drag.tool === "window") {
    windowed(drag.window, at[0] - drag.from[0], drag.from[1] - at[1]);
  } else if (pixel && drag.tool !== "click") {
    drag.pixels.push(pixel);
    preview(view, drag.tool, drag.pixels, drag.inside);
  }
  drag.at = at;
}

function preview(view, tool, pixels, inside) {
  const colour = inside ? "#2ee56b" : "#ff4d4d";
  const kept = view.marks;
  view.marks = tool === "box"
    ? { ...kept, boxes: [...kept.boxes, { low: pixels[0], high: pixels.at(-1), colour }] }
    : { ...kept, lines: [...kept.lines, { line: pixels, colour }] };
  view.draw();
  view.marks = kept;
}

async function released(event, view) {
  if (!drag || drag.view !== view) return;
  const { tool, pixels, inside } = drag;
  drag = null;
  if (tool === "click") await clicked(pixels[0], inside);
  if (tool === "box" && pixels.length > 1) await boxed(pixels[0], pixels.at(-1));
  if (tool === "scribble" && pixels.length > 1) await scribbled(pixels, inside);
}

const clicked = (pixel, inside) => say({ kind: "points", at: [plane().voxel(pixel)], inside: [inside] });

function boxed(from, to) {
  const [a, b] = [plane().voxel(from), plane().voxel(to)];
  return say({ kind: "box", low: a.map((each, n) => Math.min(each, b[n])), high: a.map((each, n) => Math.max(each, b[n])) });
}

async function scribbled(pixels, inside) {
  const line = pixels.map((pixel) => plane().voxel(pixel));
  const drawnLine = { lines: [line], width: 2 };
  state.strokes.push({ at: line.map(padded), inside });
  await say({ kind: "scribble", inside: inside ? drawnLine : { lines: [] }, ...(inside ? {} : { outside: drawnLine }) });
}

let waiting = 0;

function windowed([low, high], wider, up) {
  const span = (high - low) || 1;
  const width = Math.max(span * 0.01, span * Math.exp(wider / 200));
  const level = (low + high) / 2 + (up / 300) * span;
  state.window = [level - width / 2, level + width / 2];
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(refresh);
}

function wheeled(event, view) {
  if (!state.image) return;
  event.preventDefault();
  if (state.image.size.length === 3 && !event.ctrlKey) moved(state.index + Math.sign(event.deltaY));
  else views.forEach((each) => each.zoomed(Math.exp(-event.deltaY / 400), ...place(event, view)));
}

// The keyboard's cross: begins in the middle.
function crossed(du, dv) {
  const shown = plane();
  const now = state.cross && shown.pixel(state.cross);
  const [u, v] = now ?? [Math.floor(shown.width / 2), Math.floor(shown.height / 2)];
  const pixel = [Math.max(0, Math.min(shown.width - 1, u + du)), Math.max(0, Math.min(shown.height - 1, v + dv))];
  state.cross = padded(shown.voxel(pixel));
  views.forEach((view) => (view.cross = pixel));
  if (held) {
    held.pixels.push(pixel);
    preview(views[0], held.tool, held.pixels, held.inside);
  } else views.forEach((view) => view.draw());
  drawn();
}

async function byKeys(tool, inside) {
  state.tool = tool;
  if (!state.cross) return drawn();
  const pixel = plane().pixel(state.cross);
  if (!pixel) return drawn();
  if (!held || held.tool !== tool) {
    held = { tool, inside, pixels: [pixel] };
    tell(tool === "box" ? "move the cross to the other corner, then B" : "move the cross along the object, then S");
    return drawn();
  }
  const { pixels } = held;
  held = null;
  if (tool === "box") await boxed(pixels[0], pixel);
  else await scribbled(pixels, inside);
  return null;
}

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const LEVELS = { i: [0, 15], k: [0, -15], j: [-20, 0], l: [20, 0] };

async function typed(event) {
  if (event.target.matches("input:not([type=checkbox]):not([type=range]), select, dialog *") || event.metaKey) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey && !["z", "y"].includes(key)) return;
  const act = action(key, event);
  if (!act || (!state.image && !["?", "t"].includes(key))) return;
  if (event.target.matches("button") && key === "Enter") return;
  event.preventDefault();
  await act();
}

function action(key, event) {
  if (STEPS[key]) return () => crossed(...STEPS[key].map((each) => each * (event.shiftKey ? 10 : 1)));
  if (LEVELS[key]) return () => windowed(window_(), ...LEVELS[key]);
  const here = () => plane().pixel(state.cross ?? [-1, -1, -1]);
  const zoom = (factor) => () => views.forEach((each) => each.zoomed(factor, each.canvas.clientWidth / 2, each.canvas.clientHeight / 2));
  const chosenTool = (id) => () => {
    state.tool = id;
    drawn();
  };
  return {
    c: chosenTool("click"), w: chosenTool("window"), h: chosenTool("pan"),
    b: () => byKeys("box", true), s: () => byKeys("scribble", !event.shiftKey),
    Enter: () => here() && clicked(here(), true), Backspace: () => here() && clicked(here(), false), Delete: () => here() && clicked(here(), false),
    PageUp: () => moved(state.index - 1), PageDown: () => moved(state.index + 1),
    1: () => turned(0), 2: () => turned(1), 3: () => turned(2),
    "+": zoom(1.25), "=": zoom(1.25), "-": zoom(0.8), 0: fitted,
    n: another, z: undo, y: redo, u: uncertain, e: explained, v: whole, t: themed, "?": () => keys(),
    Escape: () => {
      held = null;
      tell("");
      return refresh();
    },
  }[key];
}

const undo = () => session()?.undo && past("/undo");
const redo = () => session()?.redo && past("/redo");

function past(path) {
  state.strokes = [];
  return changed("POST", path);
}

function another() {
  const taken = new Set((session()?.objects ?? []).map((each) => each.name));
  let number = taken.size + 1;
  while (taken.has(`object ${number}`)) number += 1;
  $("name").value = `object ${number}`;
  state.strokes = [];
  drawn();
}

function uncertain() {
  $("uncertain").checked = !$("uncertain").checked;
  return refresh();
}

function themed() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.classList.contains("dark") || (dark && !document.documentElement.classList.contains("light"));
  document.documentElement.className = now ? "light" : "dark";
}

function keys() {
  const rows = KEYS.map(([key, what]) => made("tr", {}, made("td", {}, made("kbd", { textContent: key })), made("td", { textContent: what })));
  const close = made("button", { textContent: "Close" });
  close.addEventListener("click", () => $("keys").close());
  $("keys").replaceChildren(made("h2", { textContent: "Keys" }), made("table", {}, ...rows), close);
  $("keys").showModal();
}

export function listen() {
  for (const view of views) {
    const { canvas } = view;
    canvas.addEventListener("pointerdown", (event) => pressed(event, view));
    canvas.addEventListener("pointermove", (event) => dragged(event, view));
    canvas.addEventListener("pointerup", (event) => released(event, view));
    canvas.addEventListener("pointercancel", () => (drag = null));
    canvas.addEventListener("wheel", (event) => wheeled(event, view), { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }
  document.addEventListener("keydown", typed);
  $("files").addEventListener("change", (event) => upload([...event.target.files]));
  $("folder").addEventListener("change", (event) => upload([...event.target.files]));
  $("system").addEventListener("change", () => {
    state.sessions[1] = null;
    drawn();
    refresh();
  });
  $("beside").addEventListener("change", () => {
    state.sessions[1] = null;
    drawn();
    refresh();
  });
  $("slice").addEventListener("input", (event) => moved(Number(event.target.value)));
  $("axis").addEventListener("change", (event) => turned(Number(event.target.value)));
  $("ask").addEventListener("click", labelled);
  $("labels").addEventListener("keydown", (event) => event.key === "Enter" && labelled());
  $("name").addEventListener("change", drawn);
  $("explain").addEventListener("click", explained);
  $("another").addEventListener("click", another);
  $("undo").addEventListener("click", undo);
  $("redo").addEventListener("click", redo);
  $("theme").addEventListener("click", themed);
  $("help").addEventListener("click", keys);
  $("copy").addEventListener("click", () => attempt(() => navigator.clipboard.writeText($("command").textContent)));
  $("cancel").addEventListener("click", () => state.running && attempt(() => call("DELETE", `/api/jobs/${state.running.id}`)));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    upload([...event.dataTransfer.files]);
  });
}
