"""Labels that people type into the review page: spelling, typos, and names that are none."""

from __future__ import annotations

from reviewers import PAGE_TEST, Reviewer

pytestmark = PAGE_TEST

_FAULT = "dialog.question .fault:not(:empty)"


def _ask_for_label(reviewer: Reviewer, typed: str) -> None:
    reviewer.wait_for("dialog[open] input")
    reviewer.page.keyboard.press("Control+A")
    reviewer.page.keyboard.press("Backspace")
    reviewer.page.keyboard.type(typed)
    reviewer.page.keyboard.press("Enter")


def _draw(reviewer: Reviewer, typed: str) -> None:
    for key in ("d", "Enter", "s"):
        reviewer.page.keyboard.press(key)
    _ask_for_label(reviewer, typed)


def test_a_known_label_in_other_letters_is_that_label(reviewer: Reviewer) -> None:
    _draw(reviewer, "Lawn")
    reviewer.wait_for_reviews(1)
    [drawn] = reviewer.rows("SELECT label FROM lotline.detection WHERE segmenter = 'person'")
    assert drawn.label == "lawn"


def test_what_is_no_label_name_is_refused_in_the_dialog(reviewer: Reviewer) -> None:
    page = reviewer.page
    _draw(reviewer, "Garden shed!")
    reviewer.wait_for(_FAULT)
    words = page.inner_text(_FAULT)
    assert "is not a label name" in words
    assert "such as garden_shed" in words
    assert reviewer.reviews() == []
    _ask_for_label(reviewer, "")
    reviewer.wait_until(f"document.querySelector('{_FAULT}').innerText.includes('type a label')")
    _ask_for_label(reviewer, "pool")
    reviewer.wait_for_reviews(1)


def test_a_label_that_the_server_refuses_is_asked_for_again(reviewer: Reviewer) -> None:
    page = reviewer.page
    _draw(reviewer, "boundary_area")
    page.click("text=Make a new label: boundary_area")
    reviewer.wait_for("text=Go on with it")
    notice = page.inner_text("#notices")
    assert "choose another name" in notice
    assert "Value error" not in notice
    assert "body." not in notice
    page.click("text=Go on with it")
    reviewer.wait_for("[data-command=save]:not([hidden])")
    page.keyboard.press("s")
    reviewer.wait_for("dialog[open] input")
    assert page.input_value("dialog[open] input") == ""
    _ask_for_label(reviewer, "pool")
    reviewer.wait_for_reviews(1)


def test_a_typo_is_no_new_label(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("f")
    _ask_for_label(reviewer, "tre")
    reviewer.wait_for("dialog[open] button.primary:has-text('Use tree')")
    words = page.inner_text("dialog[open]")
    assert "There is no label tre in this county; nearest: tree." in words
    assert reviewer.reviews() == []
    page.keyboard.press("Enter")
    reviewer.wait_for_reviews(1)
    assert page.evaluate("window.lotlinePanel.decisions.labels.last") == "tree"


def test_a_new_label_is_made_on_purpose_once(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("f")
    _ask_for_label(reviewer, "greenhouse")
    page.click("text=Make a new label: greenhouse")
    reviewer.wait_for_reviews(1)
    _draw(reviewer, "greenhouse")
    reviewer.wait_for_reviews(2)
    labels = reviewer.rows("SELECT label FROM lotline.detection WHERE label = 'greenhouse'")
    assert len(labels) == 2


def test_labels_that_cannot_be_read_are_not_called_missing(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.route("**/v1/review/labels*", lambda route: route.abort())
    page.reload()
    reviewer.wait_for("#objects li")
    page.keyboard.press("f")
    _ask_for_label(reviewer, "hedge")
    reviewer.wait_for("dialog[open] button.primary:has-text('Use hedge')")
    assert "cannot be read now" in page.inner_text("dialog[open]")
    page.keyboard.press("Enter")
    reviewer.wait_for_reviews(1)
