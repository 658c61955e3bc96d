"""Whether trained weights may be used: they are judged on reviewed lots that nothing learned from.

judged_lots      a reviewed lot with its chips, and what people say of it
lot_answers      what a segmenter finds on it, by the code that a batch runs
label_figures    the figures of a label on all lots
prompt_checks    prompts that name nothing there, and prompts that were not trained
score_thresholds the scores from which objects count, chosen on the validation's lots
trained_ground   refuses lots that the weights learned from
gate_settings    what the gate tolerates, and why
gate             champion and candidate side by side, and the verdict
gate_table       the gate's table, for people
judge_candidate  all of it for one registered model
"""
