"""The keys of a registry entry that detection owns: imagery, labels and lot lines.

county          DetectionCounty: a County whose imagery, labels and lot-line keys are validated too
imagery_entry   what an entry may contain about its imagery; USGS NAIP is the default
label_entry     what an entry, labels.yaml or a caller may say about a label
"""
