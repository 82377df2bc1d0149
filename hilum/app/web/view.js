// One canvas: a plane, the layers over it, the prompts, a cross; panned and zoomed.

export class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.plane = null;
    this.picture = null;
    this.layers = []; // {picture, opacity}
    this.marks = { points: [], boxes: [], lines: [] }; // in pixels of the plane
    this.cross = null;
    this.zoom = 1;
    this.shift = [0, 0];
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  show(plane, picture) {
    const other = !this.plane || this.plane.axis !== plane.axis || this.plane.width !== plane.width;
    this.plane = plane;
    this.picture = picture;
    if (other) this.fit();
    this.draw();
  }

  fit() {
    this.zoom = 1;
    this.shift = [0, 0];
  }

  // Screen pixels per pixel of the plane, across and down, and where the plane's corner lies.
  frame() {
    const [wide, tall] = [this.canvas.clientWidth, this.canvas.clientHeight];
    const { width, height, aspect } = this.plane;
    const fit = 0.96 * Math.min(wide / (width * aspect[0]), tall / (height * aspect[1])) * this.zoom;
    const scale = [fit * aspect[0], fit * aspect[1]];
    return { scale, left: (wide - width * scale[0]) / 2 + this.shift[0], top: (tall - height * scale[1]) / 2 + this.shift[1] };
  }

  // Of a pointer's place on the canvas the pixel of the plane, or null beside it.
  at(x, y) {
    if (!this.plane) return null;
    const { scale, left, top } = this.frame();
    const pixel = [Math.floor((x - left) / scale[0]), Math.floor((y - top) / scale[1])];
    const inside = pixel[0] >= 0 && pixel[1] >= 0 && pixel[0] < this.plane.width && pixel[1] < this.plane.height;
    return inside ? pixel : null;
  }

  // Of a pixel its centre on the canvas.
  on([u, v]) {
    const { scale, left, top } = this.frame();
    return [left + (u + 0.5) * scale[0], top + (v + 0.5) * scale[1]];
  }

  zoomed(factor, x, y) {
    const before = this.zoom;
    this.zoom = Math.min(40, Math.max(0.2, this.zoom * factor));
    const [wide, tall] = [this.canvas.clientWidth, this.canvas.clientHeight];
    const ratio = this.zoom / before;
    this.shift = [
      (x - wide / 2) * (1 - ratio) + this.shift[0] * ratio,
      (y - tall / 2) * (1 - ratio) + this.shift[1] * ratio,
    ];
    this.draw();
  }

  draw() {
    const { canvas, pen } = this;
    const dots = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * dots));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * dots));
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    if (!this.plane || !this.picture) return;
    const { scale, left, top } = this.frame();
    const [wide, tall] = [this.plane.width * scale[0], this.plane.height * scale[1]];
    pen.imageSmoothingEnabled = scale[0] < 3;
    pen.drawImage(this.picture, left, top, wide, tall);
    pen.imageSmoothingEnabled = false;
    for (const layer of this.layers) pen.drawImage(layer, left, top, wide, tall);
    this.drawMarks();
    this.drawSides(left, top, wide, tall);
  }

  drawMarks() {
    const { pen } = this;
    for (const { low, high, colour } of this.marks.boxes) {
      const [a, b] = [this.on(low), this.on(high)];
      this.stroke(colour, 2, () => pen.rect(Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.abs(b[0] - a[0]), Math.abs(b[1] - a[1])));
    }
    for (const { line, colour } of this.marks.lines) {
      this.stroke(colour, 3, () => line.map((pixel) => this.on(pixel)).forEach(([x, y], n) => (n ? pen.lineTo(x, y) : pen.moveTo(x, y))));
    }
    for (const { pixel, inside } of this.marks.points) {
      const [x, y] = this.on(pixel);
      pen.fillStyle = inside ? "#2ee56b" : "#ff4d4d";
      pen.strokeStyle = "#000";
      pen.beginPath();
      pen.arc(x, y, 5, 0, 7);
      pen.fill();
      pen.stroke();
    }
    if (this.cross) {
      const [x, y] = this.on(this.cross);
      this.stroke("#ffe14d", 1, () => {
        pen.moveTo(x - 9, y); pen.lineTo(x + 9, y); pen.moveTo(x, y - 9); pen.lineTo(x, y + 9);
      });
    }
  }

  stroke(colour, width, path) {
    this.pen.beginPath();
    path();
    this.pen.strokeStyle = colour;
    this.pen.lineWidth = width;
    this.pen.stroke();
  }

  drawSides(left, top, wide, tall) {
    const { pen } = this;
    pen.font = "600 14px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    const [l, r, t, b] = this.plane.sides ?? ["", "", "", ""];
    const [w, h] = [this.canvas.clientWidth, this.canvas.clientHeight];
    const places = [[l, Math.max(12, left - 12), top + tall / 2], [r, Math.min(w - 12, left + wide + 12), top + tall / 2],
      [t, left + wide / 2, Math.max(12, top - 10)], [b, left + wide / 2, Math.min(h - 12, top + tall + 10)]];
    for (const [letter, x, y] of places) {
      pen.strokeStyle = "#000";
      pen.lineWidth = 3;
      pen.strokeText(letter ?? "", x, y);
      pen.fillStyle = "#ffe14d";
      pen.fillText(letter ?? "", x, y);
    }
  }
}
