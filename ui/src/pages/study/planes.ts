/**
 * The volume, its mask and its probability on one canvas, by NiiVue. Loaded only where a study is shown.
 *
 * Voxels are told and taken as those of the file's own grid, the first one is 0.
 */
import { MULTIPLANAR_TYPE, Niivue, NVImage, SHOW_RENDER, SLICE_TYPE } from "@niivue/niivue";
import { t } from "../../lib/i18n.svelte";
import { toMillimetres, toVoxel, voxelVolume, type Affine, type Triple } from "./affine";

export type View = "planes" | "axial" | "coronal" | "sagittal" | "solid";
export interface Spot {
  voxel: Triple;
  millimetres: Triple;
  /** Of the volume there; null outside of it. */
  value: number | null;
}

const VIEWS: Record<View, SLICE_TYPE> = {
  planes: SLICE_TYPE.MULTIPLANAR,
  axial: SLICE_TYPE.AXIAL,
  coronal: SLICE_TYPE.CORONAL,
  sagittal: SLICE_TYPE.SAGITTAL,
  solid: SLICE_TYPE.RENDER,
};
const HEAT = "inferno";
/** Names of what draws by the processor alone: Chromium's, Mesa's, that of Windows. */
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;
const SLOW_MS = 1000;

/** NiiVue has a default for each of the other places. */
const open = NVImage.new.bind(NVImage) as unknown as (bytes: ArrayBuffer, name: string, colours: string, opacity: number) => Promise<NVImage>;

export class Planes {
  /** Drawn without a graphics card: the solid view takes seconds a picture, and is drawn only where somebody asks for it. */
  isSlow: boolean;
  #nv: Niivue;
  #images: NVImage[] = [];
  #mask: NVImage | null = null;
  #chances: NVImage | null = null;
  #made: Uint8Array | null = null; // the mask as the job made it
  #opacity = 0.5;
  #showsChances = false;
  #colours: readonly string[];
  #frame = 0;

  private constructor(nv: Niivue, colours: readonly string[]) {
    this.#nv = nv;
    this.#colours = colours;
    this.isSlow = SOFTWARE.test(rendererOf(nv.gl));
  }

  /** `colours`: of the labels, as `#rrggbb`; `on` is told where the cross stands. */
  static async open(canvas: HTMLCanvasElement, colours: readonly string[], on: (spot: Spot) => void): Promise<Planes> {
    const nv = new Niivue({
      logLevel: "error",
      backColor: [0.02, 0.028, 0.031, 1],
      crosshairColor: [...rgb(colours[2] ?? "#63e2a2").map((value) => value / 255), 1],
      fontColor: [0.96, 0.97, 0.97, 1],
      crosshairWidth: 0.4,
      crosshairWidthUnit: "voxels",
      isRadiologicalConvention: true, // the patient's right is on the left
      showAllOrientationMarkers: true,
      crosshairGap: 12,
      multiplanarLayout: MULTIPLANAR_TYPE.AUTO,
      multiplanarShowRender: SHOW_RENDER.NEVER, // until it is known to be fast
      multiplanarPadPixels: 6,
      isColorbar: false,
      isOrientCube: false,
      isSliceMM: true,
      dragAndDropEnabled: false,
      viewModeHotKey: "",
      clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "",
      loadingText: "",
    });
    nv.keyDownListener = nv.keyUpListener = () => {}; // its letters are those of the page, and its ? is an alert
    if (!canvas.getContext("webgl2", { antialias: false })) throw new Error(t("study.error.webgl"));
    await nv.attachToCanvas(canvas, false); // nothing here has edges that would gain by smoothing
    const made = new Planes(nv, colours);
    nv.onLocationChange = () => {
      const spot = made.spot();
      if (spot) on(spot);
    };
    return made;
  }

  async addVolume(bytes: ArrayBuffer): Promise<void> {
    this.#images.push(await open(bytes, "volume.nii", "gray", 1));
  }

  /** `names`: of the labels above 0. */
  async addMask(bytes: ArrayBuffer, names: ReadonlyMap<number, string>): Promise<void> {
    const image = await open(bytes, "mask.nii", "gray", this.#opacity);
    const top = Math.max(1, ...names.keys());
    const all = [...Array(top + 1).keys()];
    const colour = all.map((label) => (label ? rgb(this.#colours[(label + 2) % this.#colours.length]!) : [0, 0, 0]));
    image.setColormapLabel({
      R: colour.map(([red]) => red!),
      G: colour.map(([, green]) => green!),
      B: colour.map(([, , blue]) => blue!),
      A: all.map((label) => (label ? 255 : 0)),
      I: all,
      labels: all.map((label) => names.get(label) ?? ""),
    });
    this.#mask = image;
    this.#made = Uint8Array.from(image.img as ArrayLike<number>);
    this.#images.push(image);
  }

  /** The chance of each voxel, 0 to 1: from then on the mask can be cut anew. */
  async addChances(bytes: ArrayBuffer): Promise<void> {
    const image = await open(bytes, "probability.nii", HEAT, 0);
    image.cal_min = 0.02;
    image.cal_max = 1;
    this.#chances = image;
    this.#images.push(image);
  }

  /** Show what was added, the volume first. All at once: NiiVue lays every layer anew with each that comes. */
  show(): void {
    const last = this.#images.at(-1);
    if (!last) return;
    this.#nv.volumes = this.#images.slice(0, -1);
    this.#nv.addVolume(last);
    if (this.isSlow) return;
    this.#nv.opts.multiplanarShowRender = SHOW_RENDER.AUTO;
    this.isSlow = this.#drawnMs() > SLOW_MS;
    if (this.isSlow) this.#nv.opts.multiplanarShowRender = SHOW_RENDER.NEVER;
  }

  /** Milliseconds until a picture is there: who asks for one of its points waits for all of it. */
  #drawnMs(): number {
    const { gl } = this.#nv;
    const began = performance.now();
    this.#nv.drawScene();
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
    return performance.now() - began;
  }

  /** Lay the layers anew with the next picture, once for all that changed by then. */
  #refresh(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#nv.updateGLVolume());
  }

  /** Cut the mask at a threshold; null: as the job made it. Return mm3 of what is within. */
  cut(threshold: number | null): number | null {
    const [mask, made, chances] = [this.#mask, this.#made, this.#chances];
    if (!mask || !made) return null;
    const voxels = mask.img as Uint8Array;
    if (threshold === null || !chances) voxels.set(made);
    else {
      const { scl_slope: slope, scl_inter: intercept } = chances.hdr!;
      const least = (threshold - (intercept || 0)) / (slope || 1); // in what is stored
      const stored = chances.img as ArrayLike<number>;
      for (let at = 0; at < voxels.length; at++) voxels[at] = stored[at]! >= least ? made[at] || 1 : 0;
    }
    this.#refresh();
    return this.within();
  }

  /** Return mm3 of what the mask holds; null where there is none. */
  within(): number | null {
    const mask = this.#mask;
    if (!mask) return null;
    let num = 0;
    for (const label of mask.img as Uint8Array) if (label) num++;
    return num * voxelVolume(mask.hdr!.affine as Affine);
  }

  setOpacity(opacity: number): void {
    this.#opacity = opacity;
    this.#dress();
  }

  /** Show the chances in the place of the mask. */
  showBefore(isBefore: boolean): void {
    this.#showsChances = isBefore;
    this.#dress();
  }

  #dress(): void {
    const opacity = (image: NVImage | null, is: boolean) => image && (image.opacity = is ? this.#opacity : 0);
    opacity(this.#mask, !this.#showsChances || !this.#chances);
    opacity(this.#chances, this.#showsChances);
    this.#refresh();
  }

  setView(view: View): void {
    this.#nv.setSliceType(VIEWS[view]);
  }

  /** Greys from `low` to `high`; null: those that suit the volume. */
  setGreys(greys: { low: number; high: number } | null): void {
    const [volume] = this.#nv.volumes;
    if (!volume) return;
    volume.cal_min = greys?.low ?? volume.robust_min;
    volume.cal_max = greys?.high ?? volume.robust_max;
    this.#refresh();
  }

  /** What is black and what is white now. */
  get greys(): [number, number] {
    const [volume] = this.#nv.volumes;
    return [volume?.cal_min ?? 0, volume?.cal_max ?? 0];
  }

  goTo(voxel: Triple): void {
    const affine = this.#affine;
    if (!affine) return;
    this.#nv.scene.crosshairPos = this.#nv.mm2frac(toMillimetres(affine, voxel), 0, true);
    this.#nv.createOnLocationChange();
    this.#nv.drawScene();
  }

  /** Move the cross by voxels of the picture: to the right, up, and out of it; turn the solid view. */
  move(view: View, right: number, up: number, out: number): void {
    const { scene } = this.#nv;
    if (view === "solid") this.#nv.setRenderAzimuthElevation(scene.renderAzimuth + 5 * right, scene.renderElevation + 5 * up);
    else if (view === "coronal") this.#nv.moveCrosshairInVox(-right, out, up); // the patient's right is on the left
    else if (view === "sagittal") this.#nv.moveCrosshairInVox(out, right, up);
    else this.#nv.moveCrosshairInVox(-right, up, out);
  }

  spot(): Spot | null {
    const affine = this.#affine;
    const [volume] = this.#nv.volumes;
    if (!affine || !volume) return null;
    const [x = 0, y = 0, z = 0] = this.#nv.frac2mm(this.#nv.scene.crosshairPos, 0, true);
    const voxel = toVoxel(affine, [x, y, z]).map((place) => Math.round(place)) as Triple;
    const [ni, nj, nk] = (volume.hdr!.dims as number[]).slice(1, 4) as Triple;
    const isInside = voxel.every((place, axis) => place >= 0 && place < [ni, nj, nk][axis]!);
    const { scl_slope: slope, scl_inter: intercept } = volume.hdr!;
    const stored = isInside ? (volume.img as ArrayLike<number>)[voxel[0] + ni * (voxel[1] + nj * voxel[2])]! : 0;
    return { voxel, millimetres: [x, y, z], value: isInside ? stored * (slope || 1) + (intercept || 0) : null };
  }

  get #affine(): Affine | null {
    return (this.#nv.volumes[0]?.hdr?.affine as Affine | undefined) ?? null;
  }

  end(): void {
    cancelAnimationFrame(this.#frame);
    this.#nv.onLocationChange = () => {};
    this.#nv.cleanup();
    this.#nv.gl?.getExtension("WEBGL_lose_context")?.loseContext();
  }
}

function rendererOf(gl: WebGL2RenderingContext): string {
  const told = gl.getExtension("WEBGL_debug_renderer_info"); // Firefox tells it without, others hide it
  return String(gl.getParameter(told ? told.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
}

function rgb(hex: string): [number, number, number] {
  const value = parseInt(hex.replace("#", ""), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}
