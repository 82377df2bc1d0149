// The page: what is open, who is asked, what was said, what came of it.

import { call, ended } from "./server.js";
import { Plane } from "./planes.js";
import { View } from "./view.js";
import { TOOLS, listen } from "./tools.js";
import { drawn as panels } from "./panels.js";

const $ = (id) => document.getElementById(id);
const SOON = 0.25; // seconds that a request waits before it becomes a job with progress

export const state = {
  systems: [], images: [], image: null, sessions: [null, null], axis: 2, index: 0, window: null, tool: "click",
  cross: null, strokes: [], explained: false, running: null,
};
export const views = [new View($("canvas")), new View($("second"))];

export function tell(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

// Does something that may fail; the sentence of a failure is shown, nothing is lost.
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    tell(error.message, true);
    return null;
  }
}

export const chosen = () => state.systems.find((each) => each.name === $("system").value);
export const session = () => state.sessions[0];
export const plane = () => new Plane(state.image, state.image.planes.find((each) => each.axis === state.axis), state.index);
const volume = () => state.image && state.image.size.length === 3;

async function heard(job) {
  state.running = ["queued", "running"].includes(job.state) ? job : null;
  const { done = 0, total = 0, what = "" } = job.progress ?? {};
  $("progress").hidden = $("cancel").hidden = !state.running;
  if (total) [$("progress").max, $("progress").value] = [total, done];
  else $("progress").removeAttribute("value");
  if (state.running) tell(total ? `${what}: ${done} of ${total}` : what || "working…");
}

// What a change of a session answers: the session itself, or a job to be waited for.
async function settled(answer, id) {
  if (answer.state === undefined || answer.objects) return answer;
  const job = await ended(answer, heard);
  if (job.state === "cancelled") tell("cancelled");
  return call("GET", `/api/sessions/${id}`);
}

async function begun(place, system) {
  if (state.sessions[place]?.image === state.image.id && state.sessions[place].system === system) return;
  const like = place ? session()?.id : state.sessions[0]?.image === state.image.id ? state.sessions[0].id : undefined;
  const made = await call("POST", "/api/sessions", { image: state.image.id, system, ...(like ? { like } : {}) });
  state.sessions[place] = made;
  for (const job of made.jobs ?? []) {
    await ended(await call("GET", `/api/jobs/${typeof job === "string" ? job : job.id}`), heard);
    state.sessions[place] = await call("GET", `/api/sessions/${made.id}`);
  }
}

// Something said to the session, and to the one beside it.
export async function changed(method, path, body) {
  const asked = performance.now();
  const systems = [$("system").value, $("beside").value];
  await attempt(async () => {
    for (const place of [0, 1]) {
      if (!systems[place]) continue;
      await begun(place, systems[place]);
      const { id } = state.sessions[place];
      const wait = method === "DELETE" || method === "PATCH" ? "" : `?wait=${SOON}`;
      const answer = await call(method, `/api/sessions/${id}${path}${wait}`, body);
      state.sessions[place] = await settled(answer, id);
    }
    tell("");
  });
  await refresh();
  document.body.dataset.took = String(Math.round(performance.now() - asked));
}

export function say(prompt) {
  state.explained = false;
  return changed("POST", "/prompts", { object: $("name").value || "object 1", prompts: [prompt], mode: "add" });
}

let turn = 0;

// Plane, masks and prompts as they stand now; what was asked for before is dropped.
export async function refresh() {
  panels();
  if (!state.image) return;
  const mine = ++turn;
  const shown = plane();
  const picture = await attempt(() => bitmap(shown.url(state.image.id, state.window)));
  for (const place of [0, 1]) {
    const own = state.sessions[place];
    const layers = own && own.image === state.image.id ? await attempt(() => layersOf(own, shown)) : [];
    if (mine !== turn || !picture) return;
    views[place].layers = layers ?? [];
    views[place].marks = marksOf(own, shown);
    views[place].cross = state.cross && shown.pixel(state.cross);
    views[place].show(shown, picture);
  }
  document.body.dataset.drawn = String(mine);
}

async function bitmap(url) {
  return createImageBitmap(await call("GET", url, undefined, { blob: true }));
}

// The number of the label with the greatest softmax.
export function best(scores) {
  const shares = scores.softmax ?? scores.labels.map((each) => each.softmax);
  return shares.indexOf(Math.max(...shares));
}

async function layersOf(own, shown) {
  const at = `/api/sessions/${own.id}/planes/${shown.axis}/${shown.index}.png`;
  const wanted = [];
  if (own.objects.length) wanted.push(`${at}?of=masks&revision=${own.revision}`);
  if ($("uncertain").checked && own.objects.length) wanted.push(`${at}?of=uncertainty&revision=${own.revision}`);
  if (state.explained && own === session()) {
    wanted.push(`/api/sessions/${own.id}/explanation/${best(own.scores)}/planes/${shown.axis}/${shown.index}.png`);
  }
  return Promise.all(wanted.map(bitmap));
}

function marksOf(own, shown) {
  const marks = { points: [], boxes: [], lines: [] };
  for (const object of own?.image === state.image.id ? own.objects : []) {
    for (const said of object.prompts) {
      if (said.kind === "points") {
        said.at.forEach((at, n) => {
          const pixel = shown.pixel(at);
          if (pixel) marks.points.push({ pixel, inside: said.inside ? said.inside[n] : true });
        });
      } else if (said.kind === "box") {
        const [low, high] = [shown.pixel(said.low), shown.pixel(said.high)];
        if (low && high) marks.boxes.push({ low, high, colour: object.colour });
      }
    }
  }
  for (const { at, inside } of state.strokes) {
    const line = at.map((voxel) => shown.pixel(voxel));
    if (line.every(Boolean)) marks.lines.push({ line, colour: inside ? "#2ee56b" : "#ff4d4d" });
  }
  return marks;
}

export async function opened(facts) {
  state.image = facts;
  state.sessions = [null, null];
  [state.window, state.strokes, state.cross, state.explained] = [null, [], null, false];
  state.axis = facts.shown_axis ?? 2;
  state.index = Math.floor(facts.planes.find((each) => each.axis === state.axis).count / 2);
  await refresh();
}

export async function upload(files) {
  if (!files.length) return;
  const form = new FormData();
  for (const file of files) form.append("file", file, "image");
  tell("reading…");
  const facts = await attempt(() => call("POST", "/api/images", form));
  if (!facts) return;
  tell("");
  state.images.push(facts);
  await opened(facts);
}

export async function labelled() {
  const names = $("labels").value.split(",").map((each) => each.trim()).filter(Boolean);
  state.explained = false;
  await changed("POST", "/labels", { labels: names.length ? { kind: "labels", names } : null });
}

export async function explained() {
  if (!session()) return;
  await attempt(async () => {
    const answer = await call("POST", `/api/sessions/${session().id}/explanation?wait=${SOON}`, {});
    await settled(answer, session().id);
    state.explained = true;
    tell("where it looked for the first label: hot and dense");
  });
  await refresh();
}

export function moved(index) {
  const { count } = state.image.planes.find((each) => each.axis === state.axis);
  state.index = Math.max(0, Math.min(count - 1, index));
  if (state.cross) state.cross[state.axis] = state.index;
  return refresh();
}

export function turned(axis) {
  if (!volume()) return null;
  state.axis = axis;
  const { count } = state.image.planes.find((each) => each.axis === axis);
  state.index = state.cross ? Math.round(state.cross[axis]) : Math.floor(count / 2);
  return refresh();
}

export async function whole() {
  if (!volume()) return;
  const figure = $("volume").parentElement;
  figure.hidden = !figure.hidden;
  if (figure.hidden) return;
  await attempt(async () => {
    const three = await import("./volume.js");
    const masks = session()?.objects.length ? `/api/sessions/${session().id}/save?as=.nii.gz` : null;
    await three.show($("volume"), state.image.id, masks, session()?.objects ?? []);
  });
}

async function start() {
  listen();
  await attempt(async () => {
    state.systems = (await call("GET", "/api/systems")).systems;
    state.images = (await call("GET", "/api/images")).images;
    const last = state.images.at(-1);
    panels();
    if (last) await opened(last);
    else tell("open an image to begin");
  });
  document.body.dataset.ready = TOOLS.length;
}

start();
