// Where a pixel of a shown plane lies in the image: the server tells how each direction is shown (radiological).

export class Plane {
  constructor(facts, told, index) {
    Object.assign(this, told);
    this.index = index;
    this.size = facts.size.length === 2 ? [...facts.size, 1] : facts.size;
    this.flat = facts.size.length === 2;
    const spacing = facts.spacing_mm ?? [1, 1, 1];
    this.aspect = [spacing[this.across] ?? 1, spacing[this.down] ?? 1]; // millimetres of a pixel
  }

  // Pixel (u, v), whole numbers at pixel centres, to the voxel (x, y[, z]).
  voxel([u, v]) {
    const place = [0, 0, 0];
    place[this.across] = this.flip_across ? this.width - 1 - u : u;
    place[this.down] = this.flip_down ? this.height - 1 - v : v;
    place[this.axis] = this.index;
    return this.flat ? place.slice(0, 2) : place;
  }

  // The voxel's pixel, or null where it lies in another plane.
  pixel(voxel) {
    if (!this.flat && Math.round(voxel[this.axis]) !== this.index) return null;
    const u = voxel[this.across];
    const v = voxel[this.down];
    return [this.flip_across ? this.width - 1 - u : u, this.flip_down ? this.height - 1 - v : v];
  }

  url(image, window) {
    const asked = window ? `?low=${window[0]}&high=${window[1]}` : "";
    return `/api/images/${image}/planes/${this.axis}/${this.index}.png${asked}`;
  }
}
