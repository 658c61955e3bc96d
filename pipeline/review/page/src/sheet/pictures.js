/** Loads the pictures of tiles, few at a time, and watches which ones the reviewer can see. */

import { element } from "../dialogs.js";

/** @typedef {import("./tile.js").Tile} Tile */

const AT_ONCE = 6;
const RETRIES = 3;
const RETRY_MS = 4000;
// A tile that only flies past while scrolling was not looked at.
const DWELL_MS = 250;
const VISIBLE_SHARE = 0.6;

export class Pictures {
  /** @param {(tile: Tile) => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
    /** @type {{tile: Tile, triesLeft: number}[]} */
    this.queue = [];
    this.loading = 0;
    /** @type {Map<Element, Tile>} */
    this.watched = new Map();
    /** @type {IntersectionObserver | undefined} */
    this.observer = undefined;
    this.bar = element("#bar");
    // The bar of buttons may lie over tiles: what is under it cannot be seen.
    new ResizeObserver(() => (this.observer = this.observe())).observe(this.bar);
    const lookAgain = () => this.watched.forEach((tile) => this.look(tile));
    document.addEventListener("visibilitychange", lookAgain);
    document.addEventListener("close", lookAgain, true); // of a dialog
  }

  observe() {
    this.observer?.disconnect();
    const options = { threshold: VISIBLE_SHARE, rootMargin: `0px 0px -${this.bar.offsetHeight}px 0px` };
    const observer = new IntersectionObserver((entries) => this.seeVisible(entries), options);
    for (const watched of this.watched.keys()) observer.observe(watched);
    return observer;
  }

  /** Watch and load these tiles instead of the others. @param {Tile[]} tiles */
  show(tiles) {
    this.watched = new Map(tiles.map((tile) => [tile.element, tile]));
    this.observer = this.observe();
    this.queue = [];
    tiles.filter((tile) => tile.picture !== "shown").forEach((tile) => this.load(tile));
  }

  /** Load a picture, again if it was loaded: then it counts as not seen. @param {Tile} tile */
  load(tile) {
    tile.picture = "waiting";
    tile.isSeen = false;
    this.onChange(tile);
    this.queue.push({ tile, triesLeft: RETRIES });
    this.pump();
  }

  pump() {
    // Those on the screen first.
    this.queue.sort((a, b) => Number(b.tile.isVisible) - Number(a.tile.isVisible));
    while (this.loading < AT_ONCE && this.queue.length) {
      const next = this.queue.shift();
      if (!next) break;
      this.loading += 1;
      void this.fetch(next.tile, next.triesLeft).finally(() => {
        this.loading -= 1;
        this.pump();
      });
    }
  }

  /** @param {Tile} tile @param {number} triesLeft */
  async fetch(tile, triesLeft) {
    const { id, version } = tile.item;
    let fault = "";
    let mayPass = true;
    try {
      const response = await fetch(`/tiles/detections/${id}.webp`);
      if (response.ok) {
        const picture = URL.createObjectURL(await response.blob());
        tile.isOtherImagery = response.headers.get("Lotline-Imagery") === "other";
        tile.image.src = picture;
        await tile.image.decode();
        URL.revokeObjectURL(picture);
      } else {
        mayPass = response.status >= 500 || response.status === 429;
        fault = (await response.json().catch(() => null))?.detail ?? `the server answered ${response.status}`;
      }
    } catch {
      fault = "the picture cannot be loaded";
    }
    if (tile.item.version !== version) return this.load(tile); // it has changed meanwhile
    tile.picture = fault ? "failed" : "shown";
    tile.pictureFault = fault && `no picture: ${fault}`;
    this.onChange(tile);
    this.look(tile);
    if (fault && mayPass && triesLeft > 0)
      setTimeout(() => {
        if (this.watched.has(tile.element)) this.queue.push({ tile, triesLeft: triesLeft - 1 });
        this.pump();
      }, RETRY_MS);
  }

  /** @param {IntersectionObserverEntry[]} entries */
  seeVisible(entries) {
    for (const entry of entries) {
      const tile = this.watched.get(entry.target);
      if (!tile) continue;
      tile.isVisible = entry.intersectionRatio >= VISIBLE_SHARE;
      this.look(tile);
    }
  }

  /** A tile counts as seen after its picture was on the screen for a moment. @param {Tile} tile */
  look(tile) {
    const isInSight = () =>
      tile.isVisible && tile.picture === "shown" && document.visibilityState === "visible" && !document.querySelector("dialog[open]");
    if (tile.isSeen || !isInSight()) return;
    const { version } = tile.item;
    setTimeout(() => {
      if (!isInSight() || tile.isSeen || tile.item.version !== version) return;
      tile.isSeen = true;
      this.onChange(tile);
    }, DWELL_MS);
  }
}
