/** The outline that Esc has closed last: Z takes it back as it was, until something else is drawn or decided. */

/** @typedef {import("./panel.js").Panel} Panel */
/** @typedef {import("./drafting.js").Draft} Draft */

export class GivenUp {
  /** @param {Panel} panel */
  constructor(panel) {
    this.panel = panel;
    /** @type {{property: number, draft: import("./joint_draft.js").WholeDraft, done: Draft[], undone: Draft[], before: string} | null} */
    this.kept = null;
  }

  forget() {
    this.kept = null;
  }

  /**
   * What is open, if it was changed; to be kept once it is closed.
   *
   * @returns {GivenUp["kept"]}
   */
  ofOpen() {
    const { panel } = this;
    const { drafting } = panel.map;
    const isChanged = drafting.isChanged() || panel.editing.edited === null;
    const draft = isChanged ? panel.editing.draft(panel.map.draftGeometry() ?? panel.map.sketchedOutline()) : null;
    if (!draft || !panel.property) return null;
    const { done, undone } = drafting;
    return { property: panel.property.key, draft, done, undone, before: this.newestDecision() };
  }

  newestDecision() {
    return this.panel.decisions.stack.toUndo()[0]?.key ?? "";
  }

  /** Whether an outline was given up just now, and nothing was decided or opened since. */
  canTakeBack() {
    const { kept, panel } = this;
    if (!kept || panel.map.isDrafting() || kept.property !== panel.property?.key) return false;
    return kept.before === this.newestDecision();
  }

  takeBack() {
    const { kept, panel } = this;
    if (!kept) return;
    this.forget();
    if (kept.draft.detection !== null) panel.select(kept.draft.detection);
    panel.editing.resume(kept.draft);
    if (kept.done.length) panel.map.drafting.restore(kept.done, kept.undone);
    else panel.map.onChange(); // it was not closed yet
  }
}
