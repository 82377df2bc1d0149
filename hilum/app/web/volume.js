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

export async function show(canvas, image, masks) {
  const { Niivue } = await loaded();
  if (!viewer) {
    viewer = new Niivue({ isRadiologicalConvention: true, show3Dcrosshair: true, backColor: [0, 0, 0, 1], logLevel: "error" });
    await viewer.attachToCanvas(canvas);
    viewer.setSliceType(viewer.sliceTypeMultiplanar);
  }
  const volumes = [{ url: `/api/images/${image}/volume.nii.gz`, name: "image.nii.gz" }];
  if (masks) volumes.push({ url: masks, name: "masks.nii.gz", colormap: "actc", opacity: 0.5 });
  await viewer.loadVolumes(volumes);
  canvas.dataset.shown = String(volumes.length);
}
