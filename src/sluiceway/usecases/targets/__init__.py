"""What is learned of a content, whatever it is made of: a class, labels, a number, a text.

A family such as ``image`` is a modality (how a content is read, measured, heard or seen, and encoded) joined with each
target that it can have (the head's outputs, the loss, the measures, the panels, the answer of a served model).
"""
