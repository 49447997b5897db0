/** Places in a volume: voxels of the file's own grid, and millimetres of the patient (to the right, front, head: RAS). */

export type Triple = [number, number, number];
/** Four rows of four: voxel to millimetres. */
export type Affine = readonly (readonly number[])[];

export function toMillimetres(affine: Affine, [i, j, k]: Triple): Triple {
  return [0, 1, 2].map((row) => {
    const [a, b, c, d] = affine[row] as [number, number, number, number];
    return a * i + b * j + c * k + d;
  }) as Triple;
}

/** Return the voxel, with fractions, at a place in millimetres. */
export function toVoxel(affine: Affine, [x, y, z]: Triple): Triple {
  const [[a, b, c, p], [d, e, f, q], [g, h, i, r]] = affine as unknown as [number, number, number, number][] as [
    [number, number, number, number], [number, number, number, number], [number, number, number, number],
  ];
  const [u, v, w] = [x - p, y - q, z - r];
  const determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  return [
    (u * (e * i - f * h) + v * (c * h - b * i) + w * (b * f - c * e)) / determinant,
    (u * (f * g - d * i) + v * (a * i - c * g) + w * (c * d - a * f)) / determinant,
    (u * (d * h - e * g) + v * (b * g - a * h) + w * (a * e - b * d)) / determinant,
  ];
}

/** mm3 of one voxel. */
export function voxelVolume(affine: Affine): number {
  const [[a, b, c], [d, e, f], [g, h, i]] = affine as unknown as [[number, number, number], [number, number, number], [number, number, number]];
  return Math.abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g));
}
