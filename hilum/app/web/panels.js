// The panels beside the image, drawn anew from the state. Text is only ever put in as text.

import { call } from "./server.js";
import { TOOLS } from "./tools.js";
import { attempt, changed, chosen, opened, refresh, session, state } from "./page.js";

const $ = (id) => document.getElementById(id);
const FORMATS = [".nii.gz", ".dcm", ".seg.nrrd", ".png", ".json"];
const NAMES = { ".nii.gz": "NIfTI", ".dcm": "SEG", ".seg.nrrd": "NRRD", ".png": "PNG", ".json": "JSON" };
const USED = { click: "points", box: "box", scribble: "scribble" };

export function made(kind, given = {}, ...inside) {
  const element = Object.assign(document.createElement(kind), given);
  element.append(...inside);
  return element;
}

export function drawn() {
  images();
  systems();
  tools();
  objects();
  scores();
  place();
  saving();
}

function images() {
  $("images").replaceChildren(...state.images.map((each, n) => made("option", {
    value: each.id, textContent: `${n + 1}: ${each.size.join(" × ")} ${each.modality ?? each.format}`, selected: each.id === state.image?.id,
  })));
  const { image } = state;
  const facts = image && [image.orientation && `axes run to ${image.orientation}`, image.spacing_mm && `${image.spacing_mm.map((each) => each.toFixed(2)).join(" × ")} mm`, ...image.notes];
  $("facts").textContent = image ? facts.filter(Boolean).join("; ") : "";
}

// Why a system cannot be asked about this image by this tool; empty where it can.
export function reason(system, tool = state.tool) {
  if (!system.here) return system.reason ?? "its weights are not on this machine";
  const takes = state.image ? state.image.systems[system.name] : system.accepts;
  if (!takes) return "it does not take such an image";
  const wanted = USED[tool];
  if (wanted && !takes.includes(wanted)) return `it takes ${takes.join(", ") || "no prompt"}, not ${wanted}`;
  if (!system.returns.some((each) => ["segmentation", "scores"].includes(each))) return "it gives neither masks nor scores";
  return "";
}

const useful = (system) => system.here && !(reason(system, "labels"));

function systems() {
  const now = $("system").value || "scout";
  const beside = $("beside").value;
  const options = (selected) => state.systems.map((each) => {
    const why = reason(each);
    const byLabels = useful(each) && (state.image?.systems[each.name] ?? []).includes("labels");
    const able = !why || byLabels || each.name === selected;
    return made("option", { value: each.name, textContent: why && !able ? `${each.title} (${short(why)})` : each.title, disabled: !able, title: why, selected: each.name === selected });
  });
  $("system").replaceChildren(...options(now));
  $("beside").replaceChildren(made("option", { value: "", textContent: "nobody", selected: !beside }), ...options(beside));
  const system = chosen();
  const why = system ? reason(system) : "";
  $("why").textContent = system ? (why && !useful(system) ? why : system.summary) : "";
  $("why").title = why;
  document.querySelectorAll("#views .view")[1].hidden = !beside;
  document.querySelectorAll("#views figcaption").forEach((each, n) => (each.textContent = `${n ? beside : now} · model output`));
}

const short = (text) => (text.length > 60 ? `${text.slice(0, 57)}…` : text);

function tools() {
  const system = chosen();
  $("tools").replaceChildren(...TOOLS.map(({ id, title, key, act }) => {
    const why = act || !system ? "" : reason(system, id);
    const button = made("button", { textContent: title, title: why || `${title} (${key})`, disabled: Boolean(why) && Boolean(USED[id]) });
    if (!act) button.setAttribute("aria-pressed", String(state.tool === id));
    button.dataset.tool = id;
    button.addEventListener("click", () => {
      if (act) act();
      else {
        state.tool = id;
        drawn();
      }
    });
    return button;
  }));
}

function objects() {
  const own = session();
  $("objects").replaceChildren(...(own?.objects ?? []).map((each) => {
    const colour = made("input", { type: "color", value: each.colour, title: "Colour" });
    colour.addEventListener("change", () => changed("PATCH", `/objects/${each.number}`, { colour: colour.value }));
    const name = made("button", { className: "called", textContent: each.name, title: "Go on with this object" });
    name.addEventListener("click", () => {
      $("name").value = each.name;
      drawn();
    });
    const drop = made("button", { textContent: "✕", title: `Remove ${each.name}` });
    drop.addEventListener("click", () => changed("DELETE", `/objects/${each.number}`));
    const item = made("li", { className: each.name === $("name").value ? "now" : "" }, colour, name, made("span", { className: "size", textContent: each.size }), drop);
    item.dataset.voxels = each.voxels;
    return item;
  }));
  $("undo").disabled = !own?.undo;
  $("redo").disabled = !own?.redo;
  $("command").textContent = own?.command ?? "";
  $("copy").disabled = !own;
}

function scores() {
  const told = session()?.scores;
  $("explain").disabled = !told;
  const rows = told ? told.labels ?? told.names?.map((name, n) => ({ name, similarity: told.similarity[n], softmax: told.softmax[n], probability: told.probability?.[n] })) ?? [] : [];
  $("scores").replaceChildren(...rows.map((each) => {
    const share = each.probability ?? each.softmax ?? 0;
    const what = each.probability == null ? "softmax" : "calibrated probability";
    return made("div", { className: "score" }, `${each.name ?? each.label}: ${what} ${share.toFixed(3)}, similarity ${each.similarity.toFixed(3)}`, made("meter", { value: share, max: 1 }));
  }), ...(rows.length ? [made("p", { className: "mark", textContent: "model output; softmax is no probability" })] : []));
}

function place() {
  const { image } = state;
  const told = image?.planes.find((each) => each.axis === state.axis);
  const volume = image?.size.length === 3;
  $("axis").hidden = $("slice").hidden = !volume;
  if (!image) return;
  $("axis").replaceChildren(...image.planes.map((each) => made("option", { value: each.axis, textContent: each.orientation ?? "xyz"[each.axis], selected: each.axis === state.axis })));
  $("slice").max = told.count - 1;
  $("slice").value = state.index;
  const [low, high] = state.window ?? [image.window.low, image.window.high];
  const at = state.cross ? `voxel ${state.cross.map((each) => Math.round(each)).join(", ")} · ` : "";
  $("place").textContent = `${at}${volume ? `slice ${state.index + 1} of ${told.count} · ` : ""}window ${Math.round(low)} to ${Math.round(high)}`;
}

function saving() {
  const own = session();
  const able = own && (own.objects.length || own.scores);
  $("save").replaceChildren(...FORMATS.filter((each) => each !== ".dcm" || state.image?.format === "dicom").map((each) => {
    const button = made("button", { textContent: NAMES[each], disabled: !able || (!own?.objects.length && each !== ".json") });
    button.dataset.format = each;
    button.addEventListener("click", () => attempt(async () => {
      const blob = await call("GET", `/api/sessions/${own.id}/save?as=${each}`, undefined, { blob: true });
      const link = made("a", { href: URL.createObjectURL(blob), download: `hilum${each}` });
      link.click();
      URL.revokeObjectURL(link.href);
    }));
    return button;
  }));
}

$("images").addEventListener("change", (event) => opened(state.images.find((each) => each.id === event.target.value)));
$("uncertain").addEventListener("change", refresh);
