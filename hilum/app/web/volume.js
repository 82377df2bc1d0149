// Three planes and the volume, by NiiVue, with the masks as an overlay. Loaded when it is first wanted.

let viewer = null;

// The build is a plain script that leaves its name on the window.
function loaded() {
  return new Promise((done, failed) => {
    if (window.niivue) return done(window.niivue);
    const script = document.createElement("script");
    script.src = "vendored/niivue/niivue.js";
    script.addEventListener("load", () => done(window.niivue));
    script.addEventListener("error", () => failed(new Error("the viewer of volumes could not be loaded")));
    return document.head.append(script);
  });
}

// A table of colours for NiiVue: nothing for what lies outside, then one colour for each object.
function colours(objects) {
  const parts = [1, 3, 5].map((at) => [0, ...objects.map((each) => parseInt(each.colour.slice(at, at + 2), 16))]);
  return { R: parts[0], G: parts[1], B: parts[2], A: [0, ...objects.map(() => 255)], labels: ["", ...objects.map((each) => each.name)] };
}

export async function show(canvas, image, masks, objects) {
  const { Niivue } = await loaded();
  if (!viewer) {
    viewer = new Niivue({ isRadiologicalConvention: true, show3Dcrosshair: true, backColor: [0, 0, 0, 1], logLevel: "error" });
    await viewer.attachToCanvas(canvas);
    viewer.setSliceType(viewer.sliceTypeMultiplanar);
  }
  const volumes = [{ url: `/api/images/${image}/volume.nii.gz`, name: "image.nii.gz" }];
  if (masks) volumes.push({ url: masks, name: "masks.nii.gz", opacity: 0.5 });
  await viewer.loadVolumes(volumes);
  if (masks) {
    viewer.volumes[1].setColormapLabel(colours(objects));
    viewer.updateGLVolume();
  }
  canvas.dataset.shown = String(volumes.length);
}
