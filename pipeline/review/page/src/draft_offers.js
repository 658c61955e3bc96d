/** Offers the outlines of a property that were not saved before a reload, or that were refused. */

import { decisionsOf } from "./joint_draft.js";
import { dismiss, notify } from "./notices.js";
import { shownTime } from "./units.js";

/** @typedef {import("./draft_store.js").KeptDraft} KeptDraft */

export class DraftOffers {
  /** @param {import("./panel.js").Panel} panel */
  constructor(panel) {
    this.panel = panel;
  }

  /** Offer the newest draft of the property at hand. */
  offer() {
    dismiss("draft");
    const { property, canReview, drafts } = this.panel;
    const [draft, ...others] = property && canReview ? drafts.of(property.key) : [];
    if (!draft) return;
    const what = draft.label ? `of ${draft.label}` : "of a new object";
    const more = others.length ? ` ${others.length} more ${others.length === 1 ? "is" : "are"} kept.` : "";
    const discard = () => {
      drafts.remove(draft);
      this.offer();
    };
    const notice = notify(
      "draft",
      [`An outline ${what} is not saved (${shownTime(draft.at)}).${more}`],
      [{ title: "Go on with it", run: () => this.goOn(draft) }, { title: "Discard it", run: discard }],
    );
    notice.querySelector("button")?.focus();
  }

  /** @param {KeptDraft} draft */
  goOn(draft) {
    dismiss("draft");
    const { panel } = this;
    panel.drafts.adopt(draft);
    const object = panel.property?.detections.find((each) => each.id === draft.detection);
    if (object) panel.select(object.id);
    const isOld = draft.detection !== null && object?.version !== draft.version;
    if (!isOld) return panel.editing.resume(draft);
    const body = { decisions: decisionsOf(draft) };
    const detections = draft.detection === null ? [] : [draft.detection];
    panel.conflicts.compare(
      { key: "", reviewer: "", path: "", body, what: `edit ${draft.label}`, property: draft.property, detections, kind: "joint" },
      undefined,
      null,
    );
  }
}
