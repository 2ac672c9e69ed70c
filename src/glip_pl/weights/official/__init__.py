"""Checkpoints of official GLIP: what they hold, how to get them, and the way here and back.

`architecture` reads the sizes of a model off its tensors, `names` says what each tensor is called
on either side, `conversion` moves a whole state dict, `published` knows the released files, and
`convert` is the command around them.
"""
